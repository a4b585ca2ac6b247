"""Acting on live packs: consent, the ledger on the disk, switches, what carries limits out."""
