"""What a person types, and what appears on the screen.

| File | The question it answers |
|---|---|
| `command_line.py` | How does every command read its flags, and report mistakes? |
| `help_texts.py` | How does `--help` read? |
| `progress.py` | What does training say while it runs? |
| `text_stream.py` | When can a token be shown as text? |
| `token_choices.py` | Why was this token drawn, and which others were possible? |
"""
