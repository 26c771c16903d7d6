package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// JoinToken is what an operator gives to a host so that it may enroll. Its text
// is ID.SECRET.CAHASH.
type JoinToken struct {
	// ID names the token, and is no secret.
	ID string
	// CAHash is CAHash of the cluster's authority.
	CAHash string

	secret string
}

// The parts of a token: 5 and 20 random bytes.
var (
	tokenEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)
	tokenForm     = regexp.MustCompile(`^([0-9a-hjkmnp-tv-z]{8})\.([0-9a-hjkmnp-tv-z]{32})\.([0-9a-f]{32})$`)
)

// NewToken makes a token of the cluster that ca is the authority of.
func NewToken(ca *x509.Certificate) (JoinToken, error) {
	b := make([]byte, 25)
	if _, err := rand.Read(b); err != nil {
		return JoinToken{}, fmt.Errorf("new token: %w", err)
	}
	return JoinToken{ID: tokenEncoding.EncodeToString(b[:5]), secret: tokenEncoding.EncodeToString(b[5:]), CAHash: CAHash(ca)}, nil
}

// ParseToken reads a token's text. The error does not repeat it.
func ParseToken(text string) (JoinToken, error) {
	m := tokenForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return JoinToken{}, errors.New("the join token is not of the form ID.SECRET.CAHASH (8, 32 and 32 characters); copy it as a whole")
	}
	return JoinToken{ID: m[1], secret: m[2], CAHash: m[3]}, nil
}

// Text returns the token with its secret.
func (t JoinToken) Text() string { return t.ID + "." + t.secret + "." + t.CAHash }

// String returns the token without its secret, so that it may be logged.
func (t JoinToken) String() string { return t.ID + ".***." + t.CAHash }

// GoString is String: %#v must not show the secret either.
func (t JoinToken) GoString() string { return t.String() }

// SecretHash returns what is stored of the secret.
func (t JoinToken) SecretHash() string {
	sum := sha256.Sum256([]byte(t.secret))
	return hex.EncodeToString(sum[:])
}

// Matches reports, in constant time, whether the token's secret is the one that
// hash is the SecretHash of.
func (t JoinToken) Matches(hash string) bool {
	return subtle.ConstantTimeCompare([]byte(t.SecretHash()), []byte(hash)) == 1
}

// CAHash returns the first 128 bits of the SHA-256 of a certificate, in
// hexadecimal: enough that nobody makes another authority with the same.
func CAHash(ca *x509.Certificate) string {
	sum := sha256.Sum256(ca.Raw)
	return hex.EncodeToString(sum[:16])
}

// CAHashOfPEM returns CAHash of an authority's certificate in PEM.
func CAHashOfPEM(text []byte) (string, error) {
	ca, err := parseCA(text)
	if err != nil {
		return "", err
	}
	return CAHash(ca), nil
}
