"""Planning: from data, a machine and minutes to the settings of a run, by stated rules (docs/planning.md).

survey          what is known of the data
machine         what is known of the machine, this one or another
work            how many images a machine sees in the time, roughly, for the rules
rules           each choice, with its reason in words
choices         all choices together, as settings
cost            the seconds of an iteration, measured here or estimated for another machine
expectations    what came out of as many images, measured
planner         the plan: all of these in order, and its text
"""

__all__: list[str] = []
