#!/usr/bin/env python3
"""A worker of the queue mail, one item at a time: python3 worker.py SOCKET"""
import json
import socket
import sys

minion = socket.socket(socket.AF_UNIX)
minion.connect(sys.argv[1])
lines = minion.makefile("r", encoding="utf-8")


def say(**line):
    minion.sendall(json.dumps(line).encode() + b"\n")


say(type="hello", protocol=1, name="mail.py",
    handlers=[{"name": "mail", "queue": "default/mail", "places": 1}])
for text in lines:
    line = json.loads(text)
    if line["type"] == "refused":
        sys.exit(line["reason"])
    if line["type"] != "task":
        continue  # welcome, or what a later protocol says
    task, mail = line["task"], line.get("input")
    try:
        say(type="progress", task=task, percent=50, text="writing")
        say(type="output", task=task, data="mail to %s\n" % mail["to"])
        say(type="done", task=task, result="ok")
    except (KeyError, TypeError) as problem:
        say(type="done", task=task, result="permanent", reason="no such mail: %r" % problem)
    except Exception as problem:
        say(type="done", task=task, result="failed", reason=repr(problem))
