"""What a person sees and types.

command_line.py   How does every command begin, read its flags, fail and end?
progress.py       What is shown while training runs?
text_stream.py    How does text appear token by token?
token_choices.py  Which tokens were likely, and which one was taken?
"""
