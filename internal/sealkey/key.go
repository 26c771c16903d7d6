package sealkey

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/carillon-cron/carillon/internal/keytext"
)

const (
	// Prefix begins the text of every key.
	Prefix = "csk_"

	// head begins every sealed value; the version is in it.
	head = "sealed:1:"
	// idBytes is how long an id is.
	idBytes = 8
	// maxKeys bounds the keys of a file: two are in it while one takes the other's place.
	maxKeys = 16
)

// ID names a key, and tells nothing of it.
type ID string

// Key seals and opens. The zero value does neither; use New or ParseKey.
type Key struct {
	id   ID
	text string
	aead cipher.AEAD
}

// New makes a key.
func New() (Key, error) {
	var secret [32]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return Key{}, fmt.Errorf("new seal key: %w", err)
	}
	return keyOf(keytext.Of(Prefix, secret), secret)
}

// ParseKey reads a key's text. The error does not repeat it.
func ParseKey(text string) (Key, error) {
	secret, err := keytext.Secret(Prefix, text)
	switch {
	case errors.Is(err, keytext.ErrSum):
		return Key{}, errors.New("the seal key is not whole, or has a typing error; copy it as a whole")
	case err != nil:
		return Key{}, fmt.Errorf("that is no seal key, %s and %d letters and digits; copy it as a whole", Prefix, keytext.Length)
	}
	return keyOf(text, secret)
}

// keyOf derives what seals, and the id, from the secret.
func keyOf(text string, secret [32]byte) (Key, error) {
	derive := func(what string, n int) ([]byte, error) {
		return hkdf.Key(sha256.New, secret[:], nil, "carillon "+what, n)
	}
	sealing, err := derive("sealed values 1", chacha20poly1305.KeySize)
	if err != nil {
		return Key{}, fmt.Errorf("seal key: %w", err)
	}
	name, err := derive("id of a seal key", idBytes)
	if err != nil {
		return Key{}, fmt.Errorf("seal key: %w", err)
	}
	aead, err := chacha20poly1305.NewX(sealing)
	if err != nil {
		return Key{}, fmt.Errorf("seal key: %w", err)
	}
	return Key{id: ID(hex.EncodeToString(name)), text: text, aead: aead}, nil
}

// ID names the key.
func (k Key) ID() ID { return k.id }

// Text returns the key itself.
func (k Key) Text() string { return k.text }

// String hides the key, so that it may be logged.
func (k Key) String() string { return Prefix + "*** (" + string(k.id) + ")" }

// GoString is String: %#v must not show the key either.
func (k Key) GoString() string { return k.String() }

// seal seals a value under a name.
func (k Key) seal(name string, value []byte) (string, error) {
	nonce := make([]byte, k.aead.NonceSize(), k.aead.NonceSize()+len(value)+k.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("seal %s: %w", name, err)
	}
	begin := head + string(k.id) + ":"
	return begin + encoding.EncodeToString(k.aead.Seal(nonce, nonce, value, []byte(begin+name))), nil
}

// encoding is strict: of one value there is one text.
var encoding = base64.RawURLEncoding.Strict()

// Ring is the keys of a file, of which the first seals. The zero value has none. It is
// immutable, and may be used by many goroutines.
type Ring struct{ keys []Key }

// String names the keys, and hides them, so that a ring may be logged.
func (r Ring) String() string { return fmt.Sprint(r.IDs()) }

// GoString is String: %#v must not show the keys either.
func (r Ring) GoString() string { return r.String() }

// NewRing returns a ring of keys. Their order counts.
func NewRing(keys ...Key) Ring { return Ring{slices.Clone(keys)} }

// IDs names the keys, in their order.
func (r Ring) IDs() []ID {
	ids := make([]ID, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// First names the key that seals; empty: there is none.
func (r Ring) First() ID {
	if len(r.keys) == 0 {
		return ""
	}
	return r.keys[0].id
}

// Has reports whether the ring has a key.
func (r Ring) Has(id ID) bool { return r.find(id) != nil }

func (r Ring) find(id ID) *Key {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

// NoKeyError is returned when a key is wanted that the ring does not have.
type NoKeyError struct{ ID ID }

func (e *NoKeyError) Error() string { return "the seal key " + string(e.ID) + " is not there" }

// Seal seals a value with a key of the ring. The name is what the value is opened
// under, and no other.
func (r Ring) Seal(with ID, name string, value []byte) (string, error) {
	k := r.find(with)
	if k == nil {
		return "", fmt.Errorf("seal %s: %w", name, &NoKeyError{with})
	}
	return k.seal(name, value)
}

// Open opens what was sealed under the name. The error is a *NoKeyError where the ring
// has not the key.
func (r Ring) Open(name, sealed string) ([]byte, error) {
	id, encoded, ok := parse(sealed)
	if !ok {
		return nil, fmt.Errorf("open %s: it is not sealed in a way that this release knows", name)
	}
	k := r.find(id)
	if k == nil {
		return nil, fmt.Errorf("open %s: %w", name, &NoKeyError{id})
	}
	b, err := encoding.DecodeString(encoded)
	if err != nil || len(b) < k.aead.NonceSize() || strings.ContainsAny(encoded, "\r\n") { // the decoder reads over line ends
		return nil, fmt.Errorf("open %s: the sealed value is damaged", name)
	}
	nonce, ciphertext := b[:k.aead.NonceSize()], b[k.aead.NonceSize():]
	value, err := k.aead.Open(nil, nonce, ciphertext, []byte(head+string(id)+":"+name))
	if err != nil {
		return nil, fmt.Errorf("open %s: the sealed value was changed, or is another's", name)
	}
	return value, nil
}

// SealedBy names the key by which a text is sealed; false: it is not sealed.
func SealedBy(text string) (ID, bool) {
	id, _, ok := parse(text)
	return id, ok
}

// Begins reports whether a text begins as sealed values do, of any version.
func Begins(text string) bool { return strings.HasPrefix(text, "sealed:") }

var idForm = regexp.MustCompile(`^[0-9a-f]{16}$`)

func parse(text string) (id ID, encoded string, ok bool) {
	rest, ok := strings.CutPrefix(text, head)
	name, encoded, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 || !idForm.MatchString(name) {
		return "", "", false
	}
	return ID(name), encoded, true
}
