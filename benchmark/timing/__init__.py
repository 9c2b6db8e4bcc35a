"""Speed: contenders that take turns, what each reaches of another, and where the time goes.

Knows everything that trains and predicts; nothing below it knows of it.
"""
