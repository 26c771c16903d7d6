package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// TestExample: the example of the specification.
func TestExample(t *testing.T) {
	t.Parallel()
	s, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"test": 2432232314}`)
	v := Signed{"msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}
	at := time.Unix(1614265330, 0)
	if err := s.Verify(v, body, at); err != nil {
		t.Error(err)
	}
	if got := s.Sign(v.ID, at, body); got != v {
		t.Errorf("%+v", got)
	}
	h := http.Header{}
	if v.Put(h); Of(h) != v {
		t.Errorf("%v", h)
	}
}

// TestOnlyWhatWasSigned: any other body, id, time, secret or form is refused.
func TestOnlyWhatWasSigned(t *testing.T) {
	t.Parallel()
	s, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	good := s.Sign("msg_1", now, []byte("body"))
	with := func(edit func(*Signed)) Signed {
		v := good
		edit(&v)
		return v
	}
	for name, c := range map[string]struct {
		v    Signed
		body string
		now  time.Time
		want string
	}{
		"good":                 {good, "body", now, ""},
		"a little late":        {good, "body", now.Add(Tolerance), ""},
		"a little early":       {good, "body", now.Add(-Tolerance), ""},
		"with another":         {with(func(v *Signed) { v.Signature = "v1a,xx v1,AAAA " + v.Signature }), "body", now, ""},
		"another body":         {good, "bodx", now, "not the webhook's"},
		"another id":           {with(func(v *Signed) { v.ID = "msg_2" }), "body", now, "not the webhook's"},
		"another time":         {with(func(v *Signed) { v.Timestamp = "1800000001" }), "body", now, "not the webhook's"},
		"another secret":       {other.Sign("msg_1", now, []byte("body")), "body", now, "not the webhook's"},
		"too late":             {good, "body", now.Add(Tolerance + time.Second), "at another time"},
		"too early":            {good, "body", now.Add(-Tolerance - time.Second), "at another time"},
		"no signature":         {with(func(v *Signed) { v.Signature = "" }), "body", now, "is not signed"},
		"nothing":              {Signed{}, "body", now, "is not signed"},
		"no version":           {with(func(v *Signed) { v.Signature = v.Signature[3:] }), "body", now, "not the webhook's"},
		"another version":      {with(func(v *Signed) { v.Signature = "v2," + v.Signature[3:] }), "body", now, "not the webhook's"},
		"a part of it":         {with(func(v *Signed) { v.Signature = v.Signature[:20] }), "body", now, "not the webhook's"},
		"no number":            {with(func(v *Signed) { v.Timestamp = "now" }), "body", now, "number of seconds"},
		"moved into the id":    {Signed{"msg_1.1800000000", "1800000000", good.Signature}, "body", now, "a dot"},
		"a number with a plus": {with(func(v *Signed) { v.Timestamp = "+1800000000" }), "body", now, "number of seconds"},
		"many signatures":      {with(func(v *Signed) { v.Signature = strings.Repeat("v1,AAAA ", 8) + v.Signature }), "body", now, "not the webhook's"},
	} {
		err := s.Verify(c.v, []byte(c.body), c.now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if old := strings.HasPrefix(name, "too"); old != errors.Is(err, ErrOld) {
			t.Errorf("%s: old: %t", name, !old)
		}
	}
	if err := (Secret{}).Verify(good, []byte("body"), now); err == nil {
		t.Error("no secret is good")
	}
}

// TestSecretsAreNotPrinted: but by Text.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	s, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseSecret(s.Text())
	if err != nil || back.Text() != s.Text() {
		t.Errorf("%v %v", back.Text(), err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, s); got != "whsec_***" {
			t.Errorf("%s: %s", verb, got)
		}
	}
	for _, text := range []string{"", "whsec_", "whsec_AAAA", s.Text()[1:], s.Text() + "x", Prefix + strings.Repeat("A", 100), strings.TrimPrefix(s.Text(), Prefix)} {
		if _, err := ParseSecret(text); err == nil || len(text) > 20 && strings.Contains(err.Error(), text[8:]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1614265330, 0)
	f.Add("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", []byte(`{"test": 2432232314}`))
	f.Add("", "-1", "v1, v1,", []byte(nil))
	fuzzed.Run(f, func(t *testing.T, id, at, signature string, body []byte) {
		v := Signed{id, at, signature}
		if s.Verify(v, body, now) != nil {
			return
		}
		// What is good is what the secret signs.
		if want := s.Sign(id, now, body); want.Timestamp == at && !strings.Contains(signature, want.Signature) {
			t.Errorf("%+v is good", v)
		}
	})
}

func FuzzParseSecret(f *testing.F) {
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Add("whsec_\n")
	fuzzed.Run(f, func(t *testing.T, text string) {
		if s, err := ParseSecret(text); err == nil && strings.Trim(s.Text(), "\r\n") != strings.NewReplacer("\r", "", "\n", "").Replace(text) {
			t.Errorf("%q is read as %q", text, s.Text())
		}
	})
}
