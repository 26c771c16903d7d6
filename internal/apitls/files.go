package apitls

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// lookEvery is how often files are looked at where no client comes.
	lookEvery = time.Minute
	// warnBefore is how long before its end a certificate in a file is warned of,
	// and warnEvery how often.
	warnBefore = 7 * 24 * time.Hour
	warnEvery  = 24 * time.Hour
	// maxFile bounds a file: a chain of certificates is some kilobytes.
	maxFile = 1 << 20
)

// FilesConfig names the files; both must be given.
type FilesConfig struct {
	// Cert holds the certificate in PEM, and after it those between it and the
	// authority that clients know. Key holds its key in PEM.
	Cert, Key string
}

// Files is a certificate in files. Run is called by one goroutine, the rest by any.
type Files struct {
	cfg  FilesConfig
	deps Deps

	mu sync.Mutex
	// mu guards what follows.

	cert   *tls.Certificate
	seen   [2]stamp  // of the files as they were when cert was read
	bad    string    // what is wrong with the files as they are; empty: nothing
	warned time.Time // when the end of cert was warned of
}

// OpenFiles reads the files; the error says what is wrong with which.
func OpenFiles(cfg FilesConfig, deps Deps) (*Files, error) {
	f := &Files{cfg: cfg, deps: deps.filled()}
	if err := f.read(); err != nil {
		return nil, err
	}
	if st, err := os.Stat(cfg.Key); err == nil && st.Mode().Perm()&0o004 != 0 {
		f.deps.Logger.Warn("every account of this host can read the key of the API's certificate; chmod it to 0600", zap.String("key", cfg.Key))
	}
	return f, nil
}

// Certificate implements Source.
func (f *Files) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.cert, nil
}

// Expires implements Source.
func (f *Files) Expires() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cert.Leaf.NotAfter
}

// Names are what the certificate is for, as text.
func (f *Files) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := append([]string{}, f.cert.Leaf.DNSNames...)
	for _, ip := range f.cert.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Covers reports whether the certificate is good for a name or an address.
func (f *Files) Covers(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cert.Leaf.VerifyHostname(host) == nil
}

// Run looks after the files where no client comes, and warns before the certificate
// ends, until ctx does; it returns nil then.
func (f *Files) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		f.look()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (f *Files) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	now := f.deps.Now()
	left := f.cert.Leaf.NotAfter.Sub(now)
	if left > warnBefore || !f.warned.IsZero() && now.Sub(f.warned) < warnEvery {
		return
	}
	f.warned = now
	fields := []zap.Field{zap.String("file", f.cfg.Cert), zap.Time("expires", f.cert.Leaf.NotAfter.UTC())}
	if left <= 0 {
		f.deps.Logger.Error("the API's certificate has expired, and clients refuse it; put a new one in its file", fields...)
		return
	}
	f.deps.Logger.Warn("the API's certificate expires soon; put a new one in its file", fields...)
}

// refresh reads the files if they have changed. The caller holds mu.
func (f *Files) refresh() {
	if now := f.stamps(); now[0].same(f.seen[0]) && now[1].same(f.seen[1]) {
		return
	}
	before := f.cert
	if err := f.read(); err != nil {
		if err.Error() != f.bad {
			f.bad = err.Error()
			f.deps.Logger.Error("the files of the API's certificate were changed, and cannot be used; the former certificate is shown on",
				zap.Error(err), zap.Time("formerExpires", f.cert.Leaf.NotAfter.UTC()))
		}
		return
	}
	f.bad = ""
	if !bytes.Equal(before.Certificate[0], f.cert.Certificate[0]) {
		f.warned = time.Time{}
		f.deps.Logger.Info("the API has a new certificate", zap.String("file", f.cfg.Cert), zap.Time("expires", f.cert.Leaf.NotAfter.UTC()))
	}
}

// read takes what is in the files, if it is good. The caller holds mu, or is the
// only one yet.
func (f *Files) read() error {
	seen := f.stamps() // before they are read: what changes meanwhile differs from it
	cert, err := f.parse()
	if err != nil {
		return err
	}
	f.cert, f.seen = cert, seen
	return nil
}

func (f *Files) parse() (*tls.Certificate, error) {
	chain, err := readFile(f.cfg.Cert, "the API's certificate")
	if err != nil {
		return nil, err
	}
	secret, err := readFile(f.cfg.Key, "the key of the API's certificate")
	if err != nil {
		return nil, err
	}
	if types := blocks(chain); !types["CERTIFICATE"] {
		return nil, fmt.Errorf("the API's certificate: %s holds none: there is no line -----BEGIN CERTIFICATE----- in it", f.cfg.Cert)
	}
	types := blocks(secret)
	switch {
	case types["ENCRYPTED PRIVATE KEY"] || bytes.Contains(secret, []byte("Proc-Type: 4,ENCRYPTED")):
		return nil, fmt.Errorf("the key of the API's certificate: %s is encrypted; give it without a passphrase, in a file that only the node's account can read", f.cfg.Key)
	case !types["PRIVATE KEY"]:
		return nil, fmt.Errorf("the key of the API's certificate: %s holds none: there is no line -----BEGIN PRIVATE KEY----- in it", f.cfg.Key)
	}
	cert, err := tls.X509KeyPair(chain, secret)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("the API's certificate: the key in %s is not that of the certificate in %s, which comes first in its file; give the files that belong together", f.cfg.Key, f.cfg.Cert)
	case err != nil:
		return nil, fmt.Errorf("the API's certificate in %s and its key in %s cannot be read: %w", f.cfg.Cert, f.cfg.Key, err)
	}
	if cert.Leaf == nil {
		if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
			return nil, fmt.Errorf("the API's certificate in %s: %w", f.cfg.Cert, err)
		}
	}
	if err := checkLeaf(cert.Leaf, f.deps.Now()); err != nil {
		return nil, fmt.Errorf("the API's certificate in %s: %w", f.cfg.Cert, err)
	}
	return &cert, nil
}

// blocks returns the types of the PEM blocks in a text; every form of a private key
// is a "PRIVATE KEY", but an encrypted one.
func blocks(text []byte) map[string]bool {
	types := map[string]bool{}
	for {
		b, rest := pem.Decode(text)
		if b == nil {
			return types
		}
		kind := b.Type
		if kind != "ENCRYPTED PRIVATE KEY" && strings.HasSuffix(kind, "PRIVATE KEY") {
			kind = "PRIVATE KEY"
		}
		types[kind] = true
		text = rest
	}
}

func readFile(path, what string) ([]byte, error) {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxFile {
		err = fmt.Errorf("%s has %d bytes; the most is %d", path, st.Size(), maxFile)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: there is no file %s", what, path)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be read: %w", what, err)
	}
	return text, nil
}

// stamp is what tells that a file has changed; the zero stamp is of none.
type stamp struct {
	info fs.FileInfo
	// changed is when its content, owner or mode was changed.
	changed syscall.Timespec
}

func (f *Files) stamps() [2]stamp { return [2]stamp{stampOf(f.cfg.Cert), stampOf(f.cfg.Key)} }

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	s := stamp{info: info}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.changed = sys.Ctim
	}
	return s
}

func (s stamp) same(other stamp) bool {
	if s.info == nil || other.info == nil {
		return s.info == nil && other.info == nil
	}
	return os.SameFile(s.info, other.info) && s.info.Size() == other.info.Size() && s.info.ModTime().Equal(other.info.ModTime()) && s.changed == other.changed
}
