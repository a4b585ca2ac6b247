"""Files of readings: `.jsonl`, `.jsonl.gz`, `.csv`, `.db` (SQLite) and `.parquet`, by their names.

They are written a reading at a time, each on the disk before the next, and appended to. What a
kill or a pulled plug leaves is readable up to the last reading but one.
"""
