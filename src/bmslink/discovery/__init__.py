"""Finding packs: on serial lines, over Bluetooth, and which protocol a line speaks."""
