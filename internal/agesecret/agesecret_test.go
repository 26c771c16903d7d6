package agesecret

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

func identity(t testing.TB) *Identities {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ids, err := ParseIdentities([]byte(id.String()))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

var password = job.Key{Namespace: "billing", Name: "pg-password"}

const value = "correct-horse battery\nstaple"

func sealed(t testing.TB, of job.Key, to ...*Identities) string {
	t.Helper()
	var recipients []string
	for _, ids := range to {
		recipients = append(recipients, ids.Recipient())
	}
	text, err := Seal(of, value, recipients)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestE1_AValueIsThatOfItsSecret(t *testing.T) {
	t.Parallel()
	one, two, other := identity(t), identity(t), identity(t)
	text := sealed(t, password, one, two)
	for _, ids := range []*Identities{one, two, other.With(two)} {
		if got, err := Open(password, text, ids); got != value || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	for name, c := range map[string]struct {
		of   job.Key
		ids  *Identities
		want string
	}{
		"another name":      {job.Key{Namespace: "billing", Name: "x"}, one, "was sealed as another secret"},
		"another namespace": {job.Key{Namespace: "search", Name: "pg-password"}, one, "was sealed as another secret"},
		"another key":       {password, other, "is not sealed to this key"},
		"no key":            {password, nil, "is not sealed to this key"},
	} {
		if got, err := Open(c.of, text, c.ids); got != "" || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestE2_OnlySealedTextIsTaken(t *testing.T) {
	t.Parallel()
	one := identity(t)
	good := sealed(t, password, one, identity(t))
	if n, err := Check(good); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	lines := strings.SplitAfter(good, "\n")
	for name, text := range map[string]string{
		"nothing": "", "in the clear": value, "twice": good + good, "with more": good + "x", "behind more": "x\n" + good,
		"cut short": strings.Join(lines[:len(lines)-5], "") + lines[len(lines)-2], "damaged": strings.Replace(good, lines[1], strings.ToLower(lines[1]), 1),
		"too large": good + strings.Repeat("\n", job.MaxSealedBytes),
	} {
		if n, err := Check(text); err == nil || n != 0 || strings.Contains(err.Error(), "horse") {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	// The header says to whom it is sealed, and nothing behind it is.
	file, err := io.ReadAll(armor.NewReader(strings.NewReader(good)))
	if err != nil {
		t.Fatal(err)
	}
	header, err := age.ExtractHeader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var headOnly bytes.Buffer
	w := armor.NewWriter(&headOnly)
	if _, err := w.Write(file[:len(header)+20]); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if n, err := Check(headOnly.String()); err == nil || !strings.Contains(err.Error(), "is cut short") {
		t.Errorf("a header without a value: %d, %v", n, err)
	}
	for name, to := range map[string][]string{"none": nil, "no key": {"age1"}, "its secret half": {"AGE-SECRET-KEY-1QQQ"}, "too many": make([]string, job.MaxRecipients+1)} {
		if _, err := Seal(password, value, to); err == nil {
			t.Errorf("sealed to %s", name)
		}
	}
	for _, v := range []string{"", "a\x00b", strings.Repeat("x", job.MaxSealedValue+1)} {
		if _, err := Seal(password, v, []string{one.Recipient()}); err == nil {
			t.Errorf("sealed %d bytes", len(v))
		}
	}
}

// Each byte of what is sealed counts.
func TestChangedTextIsNotOpened(t *testing.T) {
	t.Parallel()
	one := identity(t)
	text := sealed(t, password, one)
	for i := len("-----BEGIN AGE ENCRYPTED FILE-----\n"); i < len(text)-len("-----END AGE ENCRYPTED FILE-----\n"); i += 7 {
		b := []byte(text)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		if got, err := Open(password, string(b), one); err == nil && string(b) != text {
			t.Errorf("byte %d was changed: %q", i, got)
		} else if err != nil && strings.Contains(err.Error(), "horse") {
			t.Errorf("the error tells: %v", err)
		}
	}
}

func TestE4_Identities(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "identity")
	made, err := OpenIdentities(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckRecipient(made.Recipient()); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(file)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	again, err := OpenIdentities(file)
	if err != nil || again.Recipient() != made.Recipient() {
		t.Errorf("%v, %v", again, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o622} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenIdentities(file); err == nil {
			t.Errorf("mode %o is taken", mode)
		}
	}
	for _, text := range []string{"", "# nothing\n", "AGE-SECRET-KEY-1QQQ", made.Recipient()} {
		if _, err := ParseIdentities([]byte(text)); err == nil || strings.Contains(err.Error(), "1QQQ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzOpen: no text crashes who checks it or opens it, none that is refused is opened, and
// none is opened but as the secret that it was sealed as.
func FuzzOpen(f *testing.F) {
	ids, err := ParseIdentities([]byte("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add(value)
	f.Add("-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n")
	f.Add(sealed(f, password, ids))
	f.Add(sealed(f, password, identity(f), ids))
	fuzzed.Run(f, func(t *testing.T, text string) {
		n, err := Check(text)
		if err == nil && (n < 1 || n > job.MaxRecipients) {
			t.Errorf("%d recipients", n)
		}
		if got, openErr := Open(password, text, ids); openErr == nil && (err != nil || got == "") {
			t.Errorf("%q is opened: %q, and %v", text, got, err)
		}
		if got, openErr := Open(job.Key{Namespace: "a", Name: "b"}, text, ids); openErr == nil {
			t.Errorf("%q is opened as another secret: %q", text, got)
		}
	})
}
