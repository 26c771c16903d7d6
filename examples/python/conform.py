#!/usr/bin/env python3
"""The handler that the conformance kit asks for, a thread for each task: python3 conform.py SOCKET"""
import itertools
import json
import queue
import socket
import sys
import threading

minion = socket.socket(socket.AF_UNIX)
minion.connect(sys.argv[1])
lines = minion.makefile("r", encoding="utf-8")
writing = threading.Lock()
cancelled = {}  # task -> what tells of its cancellation, and its cause
answers = {}  # id of a request for shared state -> where its answer comes
ids = itertools.count()


def say(**line):
    with writing:
        minion.sendall(json.dumps(line).encode() + b"\n")


def share(task, **request):
    id = str(next(ids))
    answers[id] = queue.Queue()
    say(type="share", task=task, id=id, request=request)
    answer = answers[id].get()
    del answers[id]
    return answer


def conform(line):
    task, asked = line["task"], line.get("input") or {}
    do, text = asked.get("do"), asked.get("text", "")
    done = {"result": "ok"}
    if do == "echo":
        say(type="output", task=task, data=text + "\n")
    elif do == "fail":
        done = {"result": "failed", "reason": text}
    elif do == "snooze":
        done = {"result": "snooze", "after": 60, "reason": "not now"}
    elif do == "progress":
        say(type="progress", task=task, percent=50, text="half")
    elif do == "checkpoint":
        say(type="checkpoint", task=task, checkpoint=line.get("checkpoint", 0) + 1)
    elif do == "share":
        counted = answer = share(task, op="incr", key="n", delta=1)
        if counted["code"] == "ok":
            answer = share(task, op="barrier", key="all")
        if answer["code"] == "ok":
            say(type="output", task=task, data=counted["value"] + "\n")
        else:
            done = {"result": "failed", "reason": answer.get("reason", answer["code"])}
    elif do == "wait":
        cancelled[task][0].wait()
        cause = cancelled[task][1]
        done = {"result": "interrupted" if cause == "stopping" else "failed", "reason": cause}
    else:
        done = {"result": "permanent", "reason": "I do not know how to do %r" % do}
    del cancelled[task]
    say(type="done", task=task, **done)


say(type="hello", protocol=1, name="conform.py", handlers=[{"name": "conform"}])
for text in lines:
    line = json.loads(text)
    if line["type"] == "refused":
        sys.exit(line["reason"])
    if line["type"] == "task":
        cancelled[line["task"]] = [threading.Event(), ""]
        threading.Thread(target=conform, args=(line,), daemon=True).start()
    elif line["type"] == "shared" and line["id"] in answers:
        answers[line["id"]].put(line["answer"])
    elif line["type"] == "cancel" and line["task"] in cancelled:
        cancelled[line["task"]][1] = line["cause"]
        cancelled[line["task"]][0].set()
