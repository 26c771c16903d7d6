// Package apitoken is the text of a token by which a program or a person asks the API:
//
//	ct_ + 43 characters of 256 random bits + 6 characters of a checksum
//
// A login of the command line has a token of the same form that begins with cl_. See
// package keytext for the form.
//
// A cluster keeps the SHA-256 of the text, and finds a token by it: no comparison tells
// how much of one was right.
package apitoken

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/carillon-cron/carillon/internal/keytext"
)

const (
	// Prefix begins every token, and SessionPrefix that of each login of the command
	// line.
	Prefix        = "ct_"
	SessionPrefix = "cl_"
)

// Token is a token with its secret. The zero value is none.
type Token struct{ text string }

// New makes a token.
func New() (Token, error) { return made(Prefix) }

// NewSession makes the token of a login.
func NewSession() (Token, error) { return made(SessionPrefix) }

func made(prefix string) (Token, error) {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return Token{}, fmt.Errorf("new token: %w", err)
	}
	return Token{keytext.Of(prefix, secret)}, nil
}

var errForm = errors.New("the token is not of the form ct_ and 49 letters and digits; copy it as a whole")

// Parse reads a token's text. The error does not repeat it.
func Parse(text string) (Token, error) { return parse(text, Prefix) }

// ParseSession is Parse for the token of a login.
func ParseSession(text string) (Token, error) { return parse(text, SessionPrefix) }

// IsSession reports whether a text begins as the token of a login does.
func IsSession(text string) bool { return strings.HasPrefix(text, SessionPrefix) }

func parse(text, prefix string) (Token, error) {
	switch err := keytext.Check(prefix, text); {
	case errors.Is(err, keytext.ErrSum):
		return Token{}, errors.New("the token is not whole, or has a typing error: its last 6 characters do not fit the others; copy it as a whole")
	case err != nil:
		return Token{}, errForm
	}
	return Token{text}, nil
}

// Text returns the token with its secret.
func (t Token) Text() string { return t.text }

// String hides the secret, so that the token may be logged.
func (t Token) String() string { return t.text[:min(len(Prefix), len(t.text))] + "***" }

// GoString is String: %#v must not show the secret either.
func (t Token) GoString() string { return t.String() }

// Hash returns what is kept of the token: its SHA-256, in hexadecimal.
func (t Token) Hash() string { return Hash(t.text) }

// Hash returns the SHA-256 of a secret, in hexadecimal.
func Hash(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}
