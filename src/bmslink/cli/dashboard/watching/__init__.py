"""Where the dashboard's packs come from: boards, services, recordings, policies. No terminal."""
