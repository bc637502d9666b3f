"""What a person types, and what appears on the screen.

command_line.py   how does every command read its flags, and report mistakes?
progress.py       what does training say while it runs?
text_stream.py    when can a token be shown as text?
token_choices.py  why was this token drawn, and which others were possible?
"""
