"""The command line: the door for people and their files.

A file goes through `input_file` (what is it?), the readers (`lines`, `record_reader`,
`csv_reader`), `mapping` (which column is which field?) and `chunks` (a thousand bodies at a time);
what is refused on the way ends in `rejects`.
"""
