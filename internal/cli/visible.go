package cli

import (
	"fmt"
	"io"
	"os"
	"unicode"
	"unicode/utf8"
)

// What hosts, commands and other users wrote may hold characters that a terminal
// obeys: they move its cursor, set its title, answer in the user's name, or turn
// the order of what is read. A terminal gets them as visible escapes, unless the
// user wants them (--raw). Everything that a verb prints goes through here, so no
// verb has to think of it. Pipes and files get each byte as it is.

// terminal reports whether w is a terminal.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// visible writes text with what a terminal would obey made visible. Characters
// may come in several writes. It is not safe for concurrent use.
type visible struct {
	w io.Writer
	// rest is the begin of a character, or a carriage return, whose rest has not
	// come yet.
	rest []byte
	// width is that of the terminal; 0: it is not known.
	width int
	// toned: the terminal gets colours. tones: what is written now has some.
	toned, tones bool
}

func (v *visible) Write(b []byte) (int, error) {
	text := append(v.rest, b...)
	out := make([]byte, 0, len(text)+16)
	for len(text) > 0 && utf8.FullRune(text) {
		r, size := utf8.DecodeRune(text)
		if r == '\r' {
			if len(text) == 1 {
				break
			}
			if text[1] == '\n' { // the end of a line
				out, text = append(out, '\r', '\n'), text[2:]
				continue
			}
		}
		if v.tones && r >= rune(toneEnd) && r < rune(tonesEnd) {
			out, text = append(out, tone(r).order()...), text[size:]
			continue
		}
		if r != '\n' && r != '\t' && obeyed(r) {
			out = append(out, escaped(r)...)
		} else {
			out = utf8.AppendRune(out, r) // U+FFFD for what is no character
		}
		text = text[size:]
	}
	v.rest = append([]byte(nil), text...)
	if _, err := v.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// flush writes what of a character has come, at the end.
func (v *visible) flush() error {
	out := []byte{}
	for _, r := range string(v.rest) {
		if r == '\r' {
			out = append(out, escaped(r)...)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	v.rest = nil
	_, err := v.w.Write(out)
	return err
}

// obeyed reports whether a terminal does something about a character, or shows
// nothing of it, other than letters and marks that need such ones.
func obeyed(r rune) bool {
	switch {
	case unicode.IsControl(r):
		return true
	case unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
		return true
	}
	return r >= 0xe0000 && r <= 0xe007f // tags
}

// escaped returns a character as \x1b, \u202e or \U000e0041.
func escaped(r rune) string {
	switch {
	case r == '\r':
		return `\r`
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}
