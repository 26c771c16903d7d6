package worker

import "slices"

// taskLine is tasks that wait for their turn. They come to its end; those whose turn
// was in vain go back to its head. Each step costs the same for 1 task and for
// 100,000. The minion's mutex guards it.
type taskLine struct {
	// head are tasks that went back, the last one first; behind them come those of
	// tail, the first one first.
	head, tail []*entry
}

func (l *taskLine) len() int { return len(l.head) + len(l.tail) }

// push puts tasks at the end.
func (l *taskLine) push(tasks ...*entry) { l.tail = append(l.tail, tasks...) }

// putBack puts tasks at the head; they keep their order.
func (l *taskLine) putBack(tasks ...*entry) {
	for _, e := range slices.Backward(tasks) {
		l.head = append(l.head, e)
	}
}

// first returns the task whose turn it is, nil when none waits.
func (l *taskLine) first() *entry {
	switch {
	case len(l.head) > 0:
		return l.head[len(l.head)-1]
	case len(l.tail) > 0:
		return l.tail[0]
	}
	return nil
}

// drop takes the first task out.
func (l *taskLine) drop() {
	if n := len(l.head); n > 0 {
		l.head[n-1] = nil
		if l.head = l.head[:n-1]; n == 1 {
			l.head = nil // lets the array go
		}
		return
	}
	l.tail[0] = nil
	if l.tail = l.tail[1:]; len(l.tail) == 0 {
		l.tail = nil
	}
}

// take takes out the first n tasks, or all if there are fewer.
func (l *taskLine) take(n int) []*entry {
	out := make([]*entry, 0, min(n, l.len()))
	for range cap(out) {
		out = append(out, l.first())
		l.drop()
	}
	return out
}
