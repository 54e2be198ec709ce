"""What is kept of past runs, and what ``kedro runs`` says of it.

After a run a hook (:mod:`.keep`) saves, of every experiment whose forecasts it made, how they were
made and their errors by calendar day (:mod:`.kept`). Two of these are held against each other
(:mod:`.changes`) in a table of all runs (:mod:`.listing`) or of two (:mod:`.comparison`).
"""
