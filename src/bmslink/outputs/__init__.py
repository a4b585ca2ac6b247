"""What leaves the service for people and other programs: metrics, alerts.

Each output takes plain records (readings, events, `PackNow`) and knows nothing of the service.
"""
