"""Alerts: which events are sent to whom (`rules`, pure), and how they get there (`sender`)."""
