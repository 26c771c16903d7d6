package apitoken

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

var form = regexp.MustCompile(`^ct_[0-9A-Za-z]{49}$`)

func TestTokensHaveTheirForm(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 500 {
		made, err := New()
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(made.Text()) || seen[made.Text()] {
			t.Fatalf("%s is not of the form, or was made twice", made.Text())
		}
		seen[made.Text()] = true
		if read, err := Parse(made.Text()); err != nil || read != made || read.Hash() != made.Hash() || len(made.Hash()) != 64 {
			t.Errorf("read again: %v, hash %s", err, made.Hash())
		}
		if said := fmt.Sprintf("%v %+v %#v %s", made, made, made, made); strings.Contains(said, made.Text()[3:20]) {
			t.Errorf("shown with its secret: %s", said)
		}
	}
}

func TestWhatIsNoTokenIsTold(t *testing.T) {
	t.Parallel()
	made, err := New()
	if err != nil {
		t.Fatal(err)
	}
	text := made.Text()
	other := "A"
	if text[10] == 'A' {
		other = "B"
	}
	for name, tc := range map[string]struct{ text, want string }{
		"empty":      {"", "not of the form"},
		"of minions": {"k3x9aaaa.bbbb.cccc", "not of the form"},
		"cut":        {text[:51], "not of the form"},
		"longer":     {text + "x", "not of the form"},
		"spaces":     {text[:20] + " " + text[21:], "not of the form"},
		"mistyped":   {text[:10] + other + text[11:], "typing error"},
	} {
		_, err := Parse(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if len(tc.text) > 10 && err != nil && strings.Contains(err.Error(), tc.text[3:10]) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}

// FuzzParse: what is read is written as it was.
func FuzzParse(f *testing.F) {
	made, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(made.Text())
	f.Add("ct_" + strings.Repeat("0", 49))
	fuzzed.Run(f, func(t *testing.T, text string) {
		if read, err := Parse(text); err == nil && (read.Text() != text || !form.MatchString(text)) {
			t.Errorf("%q is read as a token", text)
		}
	})
}
