package release

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// KeyID names a root key: the first 16 hexadecimal digits of the SHA-256 of its public half.
type KeyID string

// IDOf returns the id of a public key.
func IDOf(key ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(key)
	return KeyID(hex.EncodeToString(sum[:8]))
}

// ParsePublicKeys reads the root keys of a file: PEM blocks of type PUBLIC KEY,
// or lines of base64 (32 bytes each), where empty lines and those that begin
// with # are left out. It tells all that is wrong at once.
func ParsePublicKeys(file []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	var errs []error
	for i, block := range keyBlocks(file) {
		key, err := block.public()
		if err != nil {
			errs = append(errs, fmt.Errorf("key %d: %w", i+1, err))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no key found: must hold PEM blocks of type PUBLIC KEY, or lines of base64"))
	}
	return keys, errors.Join(errs...)
}

// ParsePrivateKey reads the one signing key of a file: a PEM block of type
// PRIVATE KEY (PKCS #8, as `openssl genpkey -algorithm ed25519` writes it), or a
// line of base64 (64 bytes).
func ParsePrivateKey(file []byte) (ed25519.PrivateKey, error) {
	blocks := keyBlocks(file)
	if len(blocks) != 1 {
		return nil, fmt.Errorf("%d keys found: must hold one PEM block of type PRIVATE KEY, or one line of base64", len(blocks))
	}
	return blocks[0].private()
}

// FormatPublicKey writes the key as a line of base64.
func FormatPublicKey(key ed25519.PublicKey) string {
	return base64.StdEncoding.EncodeToString(key) + "\n"
}

// FormatPrivateKey writes the signing key as a line of base64.
func FormatPrivateKey(key ed25519.PrivateKey) string {
	return base64.StdEncoding.EncodeToString(key) + "\n"
}

// keyBlock is one key as it lies in a file: a PEM block, or a line of base64.
type keyBlock struct {
	pem  *pem.Block
	line string
}

func keyBlocks(file []byte) []keyBlock {
	var blocks []keyBlock
	if strings.Contains(string(file), "-----BEGIN") {
		for {
			var p *pem.Block
			if p, file = pem.Decode(file); p == nil {
				return blocks
			}
			blocks = append(blocks, keyBlock{pem: p})
		}
	}
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			blocks = append(blocks, keyBlock{line: line})
		}
	}
	return blocks
}

func (b keyBlock) public() (ed25519.PublicKey, error) {
	if b.pem == nil {
		raw, err := base64.StdEncoding.DecodeString(b.line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("is not base64: %w", err)
		case len(raw) == ed25519.PrivateKeySize:
			return nil, errors.New("is a private key: must be the public one; keep the private key where releases are made")
		case len(raw) != ed25519.PublicKeySize:
			return nil, fmt.Errorf("has %d bytes: must have %d", len(raw), ed25519.PublicKeySize)
		}
		return raw, nil
	}
	if b.pem.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("PEM block has type %q: must be PUBLIC KEY", b.pem.Type)
	}
	key, err := x509.ParsePKIXPublicKey(b.pem.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse PEM block: %w", err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("is a %T: must be ed25519", key)
	}
	return public, nil
}

func (b keyBlock) private() (ed25519.PrivateKey, error) {
	if b.pem == nil {
		raw, err := base64.StdEncoding.DecodeString(b.line)
		if err != nil {
			return nil, errors.New("private key is not base64")
		}
		if len(raw) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("private key has %d bytes: must have %d", len(raw), ed25519.PrivateKeySize)
		}
		key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
		if !key.Equal(ed25519.PrivateKey(raw)) {
			return nil, errors.New("private key is damaged: its halves do not belong together")
		}
		return key, nil
	}
	if b.pem.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("PEM block has type %q: must be PRIVATE KEY", b.pem.Type)
	}
	key, err := x509.ParsePKCS8PrivateKey(b.pem.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse PEM block: %w", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("is a %T: must be ed25519", key)
	}
	return private, nil
}
