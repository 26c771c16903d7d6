package job

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxNameLen is the longest name of a job, namespace, node, minion or label key.
const MaxNameLen = 128

// CheckName tells what is wrong with the name of a job, namespace, node or
// minion: letters, digits, '.', '_' and '-' are allowed, and the first and
// last character is a letter or a digit.
func CheckName(s string) error {
	if s == "" {
		return fmt.Errorf("is empty; give a name of letters, digits, '.', '_' and '-'")
	}
	if len(s) > MaxNameLen {
		return fmt.Errorf("has %d characters; at most %d are allowed", len(s), MaxNameLen)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if alnum {
			continue
		}
		if c != '.' && c != '_' && c != '-' {
			return fmt.Errorf("%q contains %q; allowed are letters a-z, A-Z, digits, '.', '_' and '-'", s, firstRune(s[i:]))
		}
		if i == 0 || i == len(s)-1 {
			return fmt.Errorf("%q begins or ends with %q; begin and end with a letter or a digit", s, string(c))
		}
	}
	return nil
}

// firstRune returns the first character of a text, of however many bytes.
func firstRune(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return s[:n]
}

// CompareNames orders names as people do: numbers in them by their value, so
// that web2 comes before web10.
func CompareNames(a, b string) int {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if !isDigit(a[i]) || !isDigit(b[j]) {
			if a[i] != b[j] {
				return cmp.Compare(a[i], b[j])
			}
			i, j = i+1, j+1
			continue
		}
		x, y := digits(a[i:]), digits(b[j:])
		p, q := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(p), len(q)), cmp.Compare(p, q)); c != 0 {
			return c
		}
		i, j = i+len(x), j+len(y)
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// digits returns the digits that s begins with.
func digits(s string) string {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return s[:n]
}
