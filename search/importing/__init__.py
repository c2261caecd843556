"""A person's own pictures become a data set: `import_images` in run.py is the way in.

folders.py, table.py   which pictures there are, with class, group and split
reading.py             their pixels, to a scratch file
splits.py              which picture trains, which validates, which tests
refusals.py            what cannot be trained on
archive.py             the npz file, the same bytes for the same pictures
"""
