package job

import (
	"slices"
	"strings"
)

// MaxStdin bounds the bytes of a command's standard input.
const MaxStdin = 2 << 10

// Started is what a minion is told to start: the command or the script. A command with a
// standard input is a script of /bin/sh that has it as a here-document. So rules that admit
// starts see it as what it is: a text that somebody has written, by its hash.
func (s *Spec) Started() (command []string, script *Script) {
	if s.Stdin == "" || len(s.Command) == 0 {
		return s.Command, s.Script
	}
	lines := strings.Split(strings.TrimSuffix(s.Stdin, "\n"), "\n")
	end := "END"
	for slices.Contains(lines, end) {
		end += "D"
	}
	var b strings.Builder
	b.WriteString("exec")
	for _, word := range s.Command {
		b.WriteString(" '" + strings.ReplaceAll(word, "'", `'\''`) + "'")
	}
	b.WriteString(" <<'" + end + "'\n" + strings.Join(lines, "\n") + "\n" + end + "\n")
	return nil, &Script{Source: b.String()}
}

func (s *Spec) checkStdin(p *problems) {
	if len(s.Stdin) > MaxStdin {
		p.add("spec.stdin", "has %d bytes; at most %d are allowed: write it to a file of the host, or fetch it", len(s.Stdin), MaxStdin)
	}
	if strings.ContainsAny(s.Stdin, "\x00") {
		p.add("spec.stdin", "has a zero byte; write text")
	}
	if s.Stdin != "" && len(s.Command) > 0 {
		_, script := s.Started()
		if n := len(script.Source); n > SmallScript {
			p.add("spec.stdin", "makes %d bytes together with command; at most %d are allowed", n, SmallScript)
		}
	}
}
