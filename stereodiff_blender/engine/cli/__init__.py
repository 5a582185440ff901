"""The command line of people: solve clips, say how far it is."""
