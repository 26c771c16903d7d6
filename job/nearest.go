package job

import "strings"

// Nearest returns the one of the known words that was probably meant by word:
// the same but for case, or at most a third of it mistyped. Of words that are
// equally near it is one that begins with word. It is false when nothing is near.
func Nearest(word string, known []string) (string, bool) {
	best, bestDistance := "", len(word)/3+1
	for _, k := range known {
		if strings.EqualFold(word, k) {
			return k, true
		}
		d := distance(strings.ToLower(word), strings.ToLower(k), bestDistance+1)
		if d < bestDistance || d == bestDistance && best != "" && strings.HasPrefix(k, word) && !strings.HasPrefix(best, word) {
			best, bestDistance = k, d
		}
	}
	return best, best != ""
}

// distance returns the least number of letters to insert, delete, replace or
// swap with their neighbor that turns a into b; limit or more is not
// told apart.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	// Three rows of the table: the one before the last, the last, the present.
	older, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, last, row = last, row, older
	}
	return last[len(b)]
}
