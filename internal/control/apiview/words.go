package apiview

import (
	"fmt"
	"strings"
)

// Does returns "1 job does" or "2 jobs do".
func Does(n int, what string) string {
	if n == 1 {
		return Counted(n, what) + " does"
	}
	return Counted(n, what) + " do"
}

// Some lists what is shown of so many, and says with dots that there are more.
func Some(shown []string, all int) string {
	text := strings.Join(shown, ", ")
	if len(shown) < all {
		text += ", ..."
	}
	return text
}

// Counted returns "1 job" or "2 jobs".
func Counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
