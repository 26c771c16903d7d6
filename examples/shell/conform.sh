#!/bin/sh
# The handler that the conformance kit asks for, one task at a time. It reads and writes
# lines; `carillon handlers connect SOCKET -- sh conform.sh` connects them.
# Texts are passed on as they stand in the JSON, so that nothing has to be unescaped.

member() { # member NAME: the text of a member of $line, still escaped
	printf '%s' "$line" | sed -n 's/.*"'"$1"'":"\(\([^"\\]\|\\.\)*\)".*/\1/p'
}
number() { # number NAME: the number of a member of $line
	printf '%s' "$line" | sed -n 's/.*"'"$1"'":\([0-9][0-9]*\).*/\1/p'
}
say() { printf '%s\n' "$1"; }
share() { # share ID REQUEST: asks for what the run of $task shares; the answer is a line
	asked=$1
	say '{"type":"share","task":"'"$task"'","id":"'"$1"'","request":'"$2"'}'
}

say '{"type":"hello","protocol":1,"name":"conform.sh","handlers":[{"name":"conform"}]}'
while IFS= read -r line; do
	case $line in
	'{"type":"refused"'*) member reason >&2; exit 1 ;;
	'{"type":"cancel"'*)
		[ "$(member task)" = "$waiting" ] || continue
		result=failed
		[ "$(member cause)" != stopping ] || result=interrupted
		say '{"type":"done","task":"'"$waiting"'","result":"'$result'","reason":"cancelled"}'
		waiting=
		continue ;;
	'{"type":"shared"'*)
		[ "$(member id)" = "$asked" ] || continue
		case $(member code)-$asked in
		ok-"$task"-count)
			count=$(member value)
			share "$task-wait" '{"op":"barrier","key":"all"}'
			continue ;;
		ok-*)
			say '{"type":"output","task":"'"$task"'","data":"'"$count"'\n"}'
			say '{"type":"done","task":"'"$task"'","result":"ok"}' ;;
		*) say '{"type":"done","task":"'"$task"'","result":"failed","reason":"'"$(member reason)"'"}' ;;
		esac
		asked=
		continue ;;
	'{"type":"task"'*) ;;
	*) continue ;;
	esac
	task=$(member task)
	done='"result":"ok"'
	case $(member do) in
	echo) say '{"type":"output","task":"'"$task"'","data":"'"$(member text)"'\n"}' ;;
	fail) done='"result":"failed","reason":"'"$(member text)"'"' ;;
	snooze) done='"result":"snooze","after":60,"reason":"not now"' ;;
	progress) say '{"type":"progress","task":"'"$task"'","percent":50,"text":"half"}' ;;
	checkpoint)
		last=$(number checkpoint)
		say '{"type":"checkpoint","task":"'"$task"'","checkpoint":'$((${last:-0} + 1))'}' ;;
	share)
		share "$task-count" '{"op":"incr","key":"n","delta":1}'
		continue ;;
	wait)
		waiting=$task
		continue ;;
	*) done='"result":"permanent","reason":"not known here"' ;;
	esac
	say '{"type":"done","task":"'"$task"'",'"$done"'}'
done
