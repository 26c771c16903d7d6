package cli

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/carillon-cron/carillon/api"
)

// lineFilter lets through the lines that match, and of each stream of each task the last
// ones only. The zero value lets all through as it comes.
type lineFilter struct {
	// match, unless nil, must match a line without its end.
	match *regexp.Regexp
	// tail is how many of the last lines of a stream there are; negative: all.
	tail int
	next func(api.OutputLine)

	partial map[source][]byte
	// kept are the last lines so far, in the order in which they came; counts how many
	// there are of each stream.
	kept   []api.OutputLine
	counts map[source]int
}

func newLineFilter(match *regexp.Regexp, tail int, next func(api.OutputLine)) *lineFilter {
	return &lineFilter{match: match, tail: tail, next: next, partial: map[source][]byte{}, counts: map[source]int{}}
}

// off reports whether the filter lets all through.
func (l *lineFilter) off() bool { return l.match == nil && l.tail < 0 }

// add takes a piece of output.
func (l *lineFilter) add(o api.OutputLine) {
	if l.off() && len(l.partial) == 0 {
		l.next(o)
		return
	}
	s := source{o.Minion, o.Stream}
	if o.LeftOut > 0 {
		l.end(s)
		l.pass(api.OutputLine{Minion: o.Minion, Stream: o.Stream, LeftOut: o.LeftOut})
	}
	data := append(l.partial[s], o.Data...)
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			l.partial[s] = slices.Clone(data)
			return
		}
		l.line(s, data[:i+1])
		data = data[i+1:]
	}
}

// end takes the rest of a stream for a line.
func (l *lineFilter) end(s source) {
	if rest := l.partial[s]; len(rest) > 0 {
		l.line(s, append(rest, '\n'))
		l.partial[s] = nil
	}
}

func (l *lineFilter) line(s source, line []byte) {
	if l.match == nil || l.match.Match(bytes.TrimRight(line, "\r\n")) {
		l.pass(api.OutputLine{Minion: s.minion, Stream: s.stream, Data: slices.Clone(line)})
	}
}

// pass lets a line through, or keeps it as one of the last.
func (l *lineFilter) pass(o api.OutputLine) {
	if l.tail < 0 {
		l.next(o)
		return
	}
	s := source{o.Minion, o.Stream}
	if o.LeftOut > 0 { // what was before it is not the end any more, and says nothing
		return
	}
	l.kept = append(l.kept, o)
	l.counts[s]++
	if l.counts[s] > l.tail {
		i := slices.IndexFunc(l.kept, func(k api.OutputLine) bool { return source{k.Minion, k.Stream} == s })
		l.kept = slices.Delete(l.kept, i, i+1)
		l.counts[s]--
	}
}

// flush lets through what was kept, and the lines that have no end.
func (l *lineFilter) flush() {
	for _, s := range sortedSources(l.partial) {
		l.end(s)
	}
	l.pause()
}

// pause lets through what was kept, and from then on each line as it comes.
func (l *lineFilter) pause() {
	for _, o := range l.kept {
		l.next(o)
	}
	l.kept, l.counts, l.tail = nil, map[source]int{}, -1
}
