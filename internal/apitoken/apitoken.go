// Package apitoken is the text of a token by which a program or a person asks the API:
//
//	ct_ + 43 characters of 256 random bits + 6 characters of a checksum
//
// A login of the command line has a token of the same form that begins with cl_.
//
// The characters are digits and letters, so that a double click takes all of it, and
// the prefix and the checksum let programs find tokens that lie where they should not.
// The checksum tells a token that was not copied as a whole from one that is not good;
// it protects nothing.
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
	"hash/crc32"
	"math/big"
	"strings"
)

const (
	// Prefix begins every token, and SessionPrefix that of each login of the command
	// line.
	Prefix        = "ct_"
	SessionPrefix = "cl_"

	secretLength = 43
	sumLength    = 6
	digits       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
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
	body := prefix + base62(new(big.Int).SetBytes(secret[:]), secretLength)
	return Token{body + sum(body)}, nil
}

var errForm = errors.New("the token is not of the form ct_ and 49 letters and digits; copy it as a whole")

// Parse reads a token's text. The error does not repeat it.
func Parse(text string) (Token, error) { return parse(text, Prefix) }

// ParseSession is Parse for the token of a login.
func ParseSession(text string) (Token, error) { return parse(text, SessionPrefix) }

// IsSession reports whether a text begins as the token of a login does.
func IsSession(text string) bool { return strings.HasPrefix(text, SessionPrefix) }

func parse(text, prefix string) (Token, error) {
	body, ok := strings.CutPrefix(text, prefix)
	if !ok || len(body) != secretLength+sumLength || strings.Trim(body, digits) != "" {
		return Token{}, errForm
	}
	if at := len(text) - sumLength; sum(text[:at]) != text[at:] {
		return Token{}, errors.New("the token is not whole, or has a typing error: its last 6 characters do not fit the others; copy it as a whole")
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

func sum(body string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), sumLength)
}

// base62 writes a number with so many digits.
func base62(n *big.Int, length int) string {
	out := make([]byte, length)
	base, digit := big.NewInt(int64(len(digits))), new(big.Int)
	for i := length - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = digits[digit.Int64()]
	}
	return string(out)
}
