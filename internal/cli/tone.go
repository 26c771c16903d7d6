package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// tone is how a word is coloured on a terminal. It stands in tables as a character of its
// own width at both ends of the cell, so that columns stay straight; the writer before the
// terminal makes the terminal's orders of it. No other text can hold one: see untoned.
type tone rune

// The tones. They are characters that stand for nothing by themselves.
const (
	toneEnd tone = 0xF8D0 + iota
	toneGood
	toneBad
	toneBusy
	toneHead
	tonesEnd
)

// order is what the terminal gets.
func (t tone) order() string {
	switch t {
	case toneGood:
		return "\x1b[32m"
	case toneBad:
		return "\x1b[31m"
	case toneBusy:
		return "\x1b[33m"
	case toneHead:
		return "\x1b[36m"
	default:
		return "\x1b[0m"
	}
}

// untoned takes tones out of a text that others wrote.
func untoned(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= rune(toneEnd) && r < rune(tonesEnd) {
			return -1
		}
		return r
	}, text)
}

func (t tone) of(text string) string { return string(rune(t)) + text + string(rune(toneEnd)) }

// toneOf returns the tone of a word that says how something is.
func toneOf(cell string) tone {
	word, _, _ := strings.Cut(cell, " ")
	switch word {
	case "succeeded", "ok", "connected", "active", "healthy":
		return toneGood
	case "failed", "timed-out", "lost", "missed", "rejected", "dropped", "indeterminate", "unhealthy", "disconnected", "uncontrollable", "undeliverable", "delivery-timeout", "expired", "dead", "fail", "set", "down":
		return toneBad
	case "running", "pending", "queued", "draining", "drained", "paused", "skipped", "cancelled", "warn", "minion":
		return toneBusy
	}
	return toneEnd
}

// tones reports whether a terminal gets colours: not where the user does not want them
// (https://no-color.org), and not one that cannot.
func tones(env map[string]string) bool { return env["NO_COLOR"] == "" && env["TERM"] != "dumb" }

// terminalOf returns the writer before a terminal; nil: w does not end at one.
func terminalOf(w io.Writer) *visible {
	if s, ok := w.(*sink); ok {
		w = s.w
	}
	v, _ := w.(*visible)
	return v
}

// widthOf returns how many characters a line of the terminal has; 0: it is not known.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// writeRows writes the rows of a table: to a terminal in colour and, unless whole, each
// cut at the terminal's edge.
func writeRows(w io.Writer, rows []byte, whole bool) error {
	v := terminalOf(w)
	if v == nil || v.width == 0 && !v.toned {
		_, err := w.Write(rows)
		return err
	}
	if !whole && v.width > 0 {
		rows = cutRows(rows, v.width)
	}
	v.tones = v.toned
	defer func() { v.tones = false }()
	_, err := w.Write(rows)
	return err
}

// cutRows cuts lines that are wider than a terminal.
func cutRows(rows []byte, width int) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(rows) {
		text := bytes.TrimRight(line, " \n")
		if utf8.RuneCount(text) <= width {
			b.Write(text)
			b.WriteByte('\n')
			continue
		}
		open, n := false, 0
		for _, r := range string(text) {
			if n++; n == width {
				break
			}
			if r >= rune(toneEnd) && r < rune(tonesEnd) {
				open = tone(r) != toneEnd
			}
			b.WriteRune(r)
		}
		b.WriteString("…")
		if open {
			b.WriteRune(rune(toneEnd))
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// tonedDiff colours a unified diff.
func tonedDiff(text string) string {
	var b strings.Builder
	for line := range strings.Lines(untoned(text)) {
		plain := strings.TrimSuffix(line, "\n")
		t := toneEnd
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"), strings.HasPrefix(line, "@@"), strings.HasPrefix(line, "diff "):
			t = toneHead
		case strings.HasPrefix(line, "+"):
			t = toneGood
		case strings.HasPrefix(line, "-"):
			t = toneBad
		}
		if t != toneEnd {
			plain = t.of(plain)
		}
		b.WriteString(plain + "\n")
	}
	return b.String()
}
