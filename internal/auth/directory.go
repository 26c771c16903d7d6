package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/job"
)

// The files of a minion's directory.
const (
	keyFile  = "key.pem"
	certFile = "cert.pem"
	caFile   = "ca.pem"
	// usedFile holds the ID of the token that was used last.
	usedFile = "token-used"
)

// directory is where a minion keeps its key and certificates.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

// key reads the minion's key, and makes it where there is none.
func (d directory) key() (*ecdsa.PrivateKey, error) {
	path := d.path(keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.newKey()
	}
	if err != nil {
		return nil, fmt.Errorf("key of the minion: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o); chmod 600 it, or remove it and enroll again", path, mode)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key of the minion: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it and enroll again", path, err)
	}
	return key, nil
}

func (d directory) newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the minion's key: %w", err)
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	return key, d.write(keyFile, text)
}

// read returns a file, nil where there is none.
func (d directory) read(name string) ([]byte, error) {
	text, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("credentials of the minion: %w", err)
	}
	return text, nil
}

// ca reads the authority's certificate; nil where there is none.
func (d directory) ca() (*x509.Certificate, error) {
	text, err := d.read(caFile)
	if text == nil || err != nil {
		return nil, err
	}
	ca, err := parseCA(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it and join again", d.path(caFile), err)
	}
	return ca, nil
}

// certificate reads the minion's certificate; nil where there is none.
func (d directory) certificate(key *ecdsa.PrivateKey, ca *x509.Certificate, id job.MinionID) (*tls.Certificate, error) {
	text, err := d.read(certFile)
	if text == nil || err != nil {
		return nil, err
	}
	leaf, err := parseCertificate(text)
	if err == nil {
		err = checkOwn(leaf, key, ca, id)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it and join again", d.path(certFile), err)
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// checkOwn tells what is wrong with a certificate that is to be this minion's.
// One that has expired is not wrong.
func checkOwn(leaf *x509.Certificate, key *ecdsa.PrivateKey, ca *x509.Certificate, id job.MinionID) error {
	got, err := IdentityOf(leaf)
	if err != nil {
		return err
	}
	if name, ok := got.Minion(); !ok || name != id {
		return fmt.Errorf("the certificate is for %s, not for minion %s", got, id)
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(key.Public()) {
		return errors.New("the certificate is not for this minion's key")
	}
	if ca == nil {
		return errors.New("the certificate has no authority's beside it")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: poolOf(ca), CurrentTime: got.IssuedAt, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("the certificate is not of the cluster's authority: %w", err)
	}
	return nil
}

// used returns the ID of the token that was used last; empty: none.
func (d directory) used() (string, error) {
	text, err := d.read(usedFile)
	return strings.TrimSpace(string(text)), err
}

// write replaces a file as a whole: after a crash it is the old one or the new.
func (d directory) write(name string, text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", d.path(name), err)
		}
	}()
	f, err := os.CreateTemp(string(d), name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone where all went well
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return err
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// renewal returns when a certificate is to be renewed: two thirds of its life
// after an instant, somewhat earlier on some hosts than on others.
func renewal(leaf *x509.Certificate, from time.Time) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore.Add(Skew))
	return from.Add(backoff.Jittered(life * 2 / 3))
}
