package apitls

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/carillon-cron/carillon/internal/testkit/certs"
)

// Invariant 1, and the same files against a node that has good ones (invariant 2).
func TestBadFilesAreRefused(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	now := time.Now()
	good := pairOf(t, issued(t, a, 0, now))
	other := pairOf(t, issued(t, a, 0, now))
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	for name, c := range map[string]struct {
		pair
		change func(*testing.T, FilesConfig)
		want   string
	}{
		"no certificate":    {pair: pair{good.key, good.key}, want: "api.pem holds none: there is no line -----BEGIN CERTIFICATE-----"},
		"no key":            {pair: pair{good.cert, good.cert}, want: "api.key holds none: there is no line -----BEGIN PRIVATE KEY-----"},
		"nothing":           {pair: pair{nil, nil}, want: "api.pem holds none"},
		"encrypted key":     {pair: pair{good.cert, encrypted}, want: "api.key is encrypted; give it without a passphrase"},
		"key of another":    {pair: pair{good.cert, other.key}, want: "is not that of the certificate in"},
		"damaged":           {pair: pair{bytes.ReplaceAll(good.cert, []byte("MII"), []byte("AAA")), good.key}, want: "cannot be read"},
		"expired":           {pair: pairOf(t, issued(t, a, time.Hour, now.Add(-2*time.Hour))), want: "it expired on " + now.UTC().Add(-time.Hour).Format("2006-01-02")},
		"not good yet":      {pair: pairOf(t, issued(t, a, 0, now.Add(time.Hour))), want: "it is good only from"},
		"a minion's":        {pair: pairOf(t, certs.Minion(t, a, "web1", time.Now(), 0)), want: "it is not for servers"},
		"no file":           {pair: good, want: "there is no file", change: func(t *testing.T, f FilesConfig) { remove(t, f.Cert) }},
		"no file of a key":  {pair: good, want: "there is no file", change: func(t *testing.T, f FilesConfig) { remove(t, f.Key) }},
		"a directory":       {pair: good, want: "cannot be read", change: func(t *testing.T, f FilesConfig) { remove(t, f.Key); mkdir(t, f.Key) }},
		"a very large file": {pair: pair{make([]byte, maxFile+1), good.key}, want: "the most is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := files(t, c.pair)
			if c.change != nil {
				c.change(t, bad)
			}
			if _, err := OpenFiles(bad, Deps{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("at the start: %v, want %q in it", err, c.want)
			}
			cfg := files(t, good)
			core, logs := observer.New(zapcore.InfoLevel)
			f, err := OpenFiles(cfg, Deps{Logger: zap.New(core)})
			if err != nil {
				t.Fatal(err)
			}
			put(t, cfg.Cert, c.cert)
			put(t, cfg.Key, c.key)
			if c.change != nil {
				c.change(t, cfg)
			}
			for range 3 {
				if cert, err := f.Certificate(nil); err != nil || !bytes.Equal(cert.Certificate[0], mustPEM(t, good.cert)) {
					t.Fatalf("after the change, the certificate that was good is not shown: %v", err)
				}
			}
			said := logs.FilterLevelExact(zapcore.ErrorLevel).All()
			if len(said) != 1 || !strings.Contains(said[0].ContextMap()["error"].(string), c.want) {
				t.Errorf("the log has %v, want once %q", said, c.want)
			}
			put(t, cfg.Cert, other.cert)
			if os.Remove(cfg.Key) == nil || c.change != nil { // a directory is no file to replace
				put(t, cfg.Key, other.key)
			}
			if cert, err := f.Certificate(nil); err != nil || !bytes.Equal(cert.Certificate[0], mustPEM(t, other.cert)) {
				t.Errorf("good files after bad ones are not taken: %v", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func mustPEM(t *testing.T, text []byte) []byte {
	t.Helper()
	b, _ := pem.Decode(text)
	if b == nil {
		t.Fatal("no PEM")
	}
	return b.Bytes
}

// Invariant 3: while files are exchanged, one after the other, no client is refused,
// and afterwards each sees the new ones.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	pairs := []pair{pairOf(t, issued(t, a, 0, time.Now())), pairOf(t, issued(t, a, 0, time.Now()))}
	cfg := files(t, pairs[0])
	f, err := OpenFiles(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, f)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var asked [2]atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				cert, err := shown(addr, trusting(a))
				if err != nil {
					t.Errorf("a client was refused: %v", err)
					return
				}
				for i, p := range pairs {
					if bytes.Equal(cert.Raw, mustPEM(t, p.cert)) {
						asked[i].Add(1)
					}
				}
			}
		})
	}
	for i := range 20 {
		p := pairs[(i+1)%2]
		put(t, cfg.Cert, p.cert)
		put(t, cfg.Key, p.key)
		for range 3 {
			cert, err := shown(addr, trusting(a))
			if err != nil || !bytes.Equal(cert.Raw, mustPEM(t, p.cert)) {
				t.Fatalf("exchange %d: a client that came afterwards saw another certificate: %v", i, err)
			}
		}
	}
	stop()
	wg.Wait()
	if asked[0].Load()+asked[1].Load() == 0 {
		t.Error("nobody asked meanwhile")
	}
}

// What is written in place, and is not there as a whole yet, changes nothing either.
func TestHalfWrittenFiles(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	before, after := pairOf(t, issued(t, a, 0, time.Now())), pairOf(t, issued(t, a, 0, time.Now()))
	cfg := files(t, before)
	f, err := OpenFiles(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	is := func(p pair) bool {
		cert, err := f.Certificate(nil)
		return err == nil && bytes.Equal(cert.Certificate[0], mustPEM(t, p.cert))
	}
	for _, n := range []int{0, 1, len(after.cert) / 2, len(after.cert)} {
		if err := os.WriteFile(cfg.Cert, after.cert[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if !is(before) {
			t.Errorf("%d bytes of the new certificate and the old key: the old certificate is gone", n)
		}
	}
	if err := os.WriteFile(cfg.Key, after.key, 0o600); err != nil {
		t.Fatal(err)
	}
	if !is(after) {
		t.Error("the new pair is there as a whole, and not shown")
	}
}

// A pair that is put in place ahead of its time is shown from its beginning on.
func TestFilesAheadOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := certs.Authority(t)
		cfg := files(t, pairOf(t, issued(t, a, 0, time.Now())))
		f, err := OpenFiles(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		next := pairOf(t, issued(t, a, 0, time.Now().Add(time.Hour)))
		put(t, cfg.Cert, next.cert)
		put(t, cfg.Key, next.key)
		is := func() bool {
			cert, err := f.Certificate(nil)
			return err == nil && bytes.Equal(cert.Certificate[0], mustPEM(t, next.cert))
		}
		if is() {
			t.Error("it is shown before it is good")
		}
		time.Sleep(2 * time.Hour)
		if !is() {
			t.Error("it is good, and not shown")
		}
	})
}

// The end of a certificate in a file is warned of a week before, each day, and told
// as an error afterwards; it is shown on, since there is no other.
func TestEndIsWarnedOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := certs.Authority(t)
		core, logs := observer.New(zapcore.InfoLevel)
		f, err := OpenFiles(files(t, pairOf(t, issued(t, a, 10*24*time.Hour, time.Now()))), Deps{Logger: zap.New(core)})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = f.Run(t.Context()) }()
		count := func(l zapcore.Level) int { return logs.FilterLevelExact(l).Len() }
		time.Sleep(2 * 24 * time.Hour)
		if n := logs.Len(); n != 0 {
			t.Errorf("8 days before the end: %v", logs.All())
		}
		time.Sleep(8*24*time.Hour - time.Hour)
		if n := count(zapcore.WarnLevel); n != 7 {
			t.Errorf("an hour before the end there were %d warnings, want one a day: 7", n)
		}
		time.Sleep(24 * time.Hour)
		if n := count(zapcore.ErrorLevel); n != 1 {
			t.Errorf("23 hours after the end there were %d errors, want 1", n)
		}
		if cert, err := f.Certificate(nil); err != nil || cert == nil {
			t.Errorf("an expired certificate is not shown on: %v", err)
		}
	})
}

// HTTP/2 for who can, TLS 1.2 at least, and a client of another authority is not
// content.
func TestWhoConnects(t *testing.T) {
	t.Parallel()
	a := certs.Authority(t)
	f, err := OpenFiles(files(t, pairOf(t, issued(t, a, 0, time.Now()))), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, f)
	tr := &http.Transport{TLSClientConfig: trusting(a), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if proto, err := io.ReadAll(res.Body); err != nil || string(proto) != "HTTP/2.0" {
		t.Errorf("spoken: %s %v", proto, err)
	}
	old := trusting(a)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 // it is to be refused
	if _, err := shown(addr, old); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	if _, err := shown(addr, trusting(certs.Authority(t))); err == nil {
		t.Error("a client that trusts another authority is content")
	}
}
