"""What is learnt of a pack from its readings alone: conditions, energy."""
