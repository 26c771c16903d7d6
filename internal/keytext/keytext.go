// Package keytext is the text of 256 random bits that people handle: a token, a key.
//
//	PREFIX + 43 characters of the bits + 6 characters of a checksum
//
// The characters are digits and letters, so that a double click takes all of it, and
// the prefix and the checksum let programs find such texts that lie where they should
// not. The checksum tells a text that was not copied as a whole from one that is not
// good; it protects nothing. Each kind of text has a prefix of its own.
package keytext

import (
	"errors"
	"hash/crc32"
	"math/big"
	"strings"
)

const (
	// Length is how many characters follow the prefix.
	Length = secretLength + sumLength

	secretLength = 43
	sumLength    = 6
	digits       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

var (
	// ErrForm is returned for a text that is not of the form.
	ErrForm = errors.New("it is not of the form")
	// ErrSum is returned for a text of the form whose checksum does not fit.
	ErrSum = errors.New("it is not whole, or has a typing error")
)

// Of returns the text of a secret.
func Of(prefix string, secret [32]byte) string {
	body := prefix + base62(new(big.Int).SetBytes(secret[:]), secretLength)
	return body + sum(body)
}

// Check tells whether a text has the form, and a checksum that fits; what the error
// wraps is ErrForm or ErrSum.
func Check(prefix, text string) error {
	body, ok := strings.CutPrefix(text, prefix)
	if !ok || len(body) != Length || strings.Trim(body, digits) != "" {
		return ErrForm
	}
	if at := len(text) - sumLength; sum(text[:at]) != text[at:] {
		return ErrSum
	}
	return nil
}

// Secret returns the bits of a text; the error is Check's.
func Secret(prefix, text string) ([32]byte, error) {
	var secret [32]byte
	if err := Check(prefix, text); err != nil {
		return secret, err
	}
	n, base := new(big.Int), big.NewInt(int64(len(digits)))
	for _, c := range text[len(prefix) : len(text)-sumLength] {
		n.Add(n.Mul(n, base), big.NewInt(int64(strings.IndexRune(digits, c))))
	}
	if n.BitLen() > 8*len(secret) {
		return secret, ErrForm
	}
	n.FillBytes(secret[:])
	return secret, nil
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
