package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// Prefix begins every secret.
	Prefix = "whsec_"
	// Tolerance is how far a call's time may be from the clock.
	Tolerance = 5 * time.Minute

	version = "v1,"
	// Of a secret, in bytes.
	minSecret, maxSecret, newSecret = 24, 64, 32
	// maxID bounds the id of a call, maxSignatures how many are looked at.
	maxID, maxSignatures = 255, 8
)

// Secret signs calls. The zero value is none.
type Secret struct{ key []byte }

// NewSecret makes a secret.
func NewSecret() (Secret, error) {
	key := make([]byte, newSecret)
	if _, err := rand.Read(key); err != nil {
		return Secret{}, fmt.Errorf("new webhook secret: %w", err)
	}
	return Secret{key}, nil
}

// ParseSecret reads a secret's text. The error does not repeat it.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, Prefix)
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fmt.Errorf("the secret is not %s and %d to %d bytes in base64; copy it as a whole", Prefix, minSecret, maxSecret)
	}
	return Secret{key}, nil
}

// Text returns the secret for who is to sign with it.
func (s Secret) Text() string { return Prefix + base64.StdEncoding.EncodeToString(s.key) }

// String hides the secret, so that it may be logged.
func (s Secret) String() string { return Prefix + "***" }

// GoString is String: %#v must not show the secret either.
func (s Secret) GoString() string { return s.String() }

// Signed is what a call shows. The zero value is a call without a signature.
type Signed struct {
	ID, Timestamp, Signature string
}

// Of returns what a call's headers show.
func Of(h http.Header) Signed {
	return Signed{h.Get("webhook-id"), h.Get("webhook-timestamp"), h.Get("webhook-signature")}
}

// Put has a call's headers show it.
func (v Signed) Put(h http.Header) {
	h.Set("webhook-id", v.ID)
	h.Set("webhook-timestamp", v.Timestamp)
	if v.Signature != "" {
		h.Set("webhook-signature", v.Signature)
	}
}

// Timestamp is how a call shows its time.
func Timestamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// Sign returns what a call shows that is sent at a time.
func (s Secret) Sign(id string, at time.Time, body []byte) Signed {
	v := Signed{ID: id, Timestamp: Timestamp(at)}
	v.Signature = version + base64.StdEncoding.EncodeToString(s.sum(v, body))
	return v
}

func (s Secret) sum(v Signed, body []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(v.ID + "." + v.Timestamp + "."))
	h.Write(body)
	return h.Sum(nil)
}

// ErrOld is a call whose signature is good, and whose time is too far from the clock:
// it was overheard, or a clock is wrong.
var ErrOld = errors.New("it was signed at another time")

// Verify returns nil if who made a call has the secret, and made it now.
func (s Secret) Verify(v Signed, body []byte, now time.Time) error {
	if len(s.key) == 0 {
		return errors.New("there is no secret")
	}
	at, err := strconv.ParseInt(v.Timestamp, 10, 64)
	switch {
	case v.ID == "" || v.Timestamp == "" || v.Signature == "":
		return errors.New("the call is not signed: it lacks webhook-id, webhook-timestamp or webhook-signature")
	case len(v.ID) > maxID || strings.Contains(v.ID, "."):
		return fmt.Errorf("webhook-id is longer than %d bytes, or has a dot", maxID) // a dot: the text that is signed could be read in two ways
	case err != nil || strconv.FormatInt(at, 10) != v.Timestamp:
		return errors.New("webhook-timestamp is not a number of seconds")
	}
	want, good := s.sum(v, body), false
	for i, one := range strings.Fields(v.Signature) {
		if i == maxSignatures {
			break
		}
		encoded, ok := strings.CutPrefix(one, version)
		got, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if ok && err == nil && hmac.Equal(got, want) {
			good = true
		}
	}
	if !good {
		return errors.New("the signature is not the webhook's")
	}
	if off := now.Sub(time.Unix(at, 0)); off > Tolerance || off < -Tolerance {
		return fmt.Errorf("%w: its time is %s, %s is allowed", ErrOld, off.Round(time.Second), Tolerance)
	}
	return nil
}
