package job

import "fmt"

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
			return fmt.Errorf("%q has the character %q; letters, digits, '.', '_' and '-' are allowed", s, s[i:i+1])
		}
		if i == 0 || i == len(s)-1 {
			return fmt.Errorf("%q begins or ends with %q; begin and end with a letter or a digit", s, string(c))
		}
	}
	return nil
}
