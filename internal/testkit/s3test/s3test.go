// Package s3test is a small store that speaks S3, for tests: buckets and objects in memory,
// over TLS, to who signs as Amazon's version 4 says.
package s3test

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the protocol has it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Who may use a store.
const (
	AccessKey = "test-key"
	SecretKey = "test-secret"
	Region    = "us-east-1"
)

// pageKeys is how many objects a list has on a page.
const pageKeys = 2

// Store is a store with one bucket.
type Store struct {
	URL string
	// CA is the file of the authority of its certificate.
	CA     string
	bucket string

	mu      sync.Mutex
	objects map[string][]byte
}

// New starts a store that ends with the test.
func New(t testing.TB, bucket string) *Store {
	t.Helper()
	s := &Store{bucket: bucket, objects: map[string][]byte{}}
	srv := httptest.NewTLSServer(s)
	t.Cleanup(srv.Close)
	s.URL, s.CA = srv.URL, filepath.Join(t.TempDir(), "s3-ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(s.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// Env are the variables by which a client gets in.
func (s *Store) Env() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL": s.URL, "AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey, "AWS_REGION": Region}
}

// Change changes an object, as a disk that goes bad does. Nil: it is removed.
func (s *Store) Change(key string, change func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = change(slices.Clone(s.objects[key]))
}

// Keys are the names of the objects.
func (s *Store) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for k := range s.objects {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if why := signedWrong(r); why != "" {
		refuse(w, http.StatusForbidden, "SignatureDoesNotMatch", why)
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if bucket != s.bucket {
		refuse(w, http.StatusNotFound, "NoSuchBucket", bucket)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case key == "" && r.Method == http.MethodGet:
		s.list(w, r.URL.Query())
	case key == "":
		refuse(w, http.StatusNotImplemented, "NotImplemented", r.Method)
	case r.Method == http.MethodPut:
		s.put(w, r, key)
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		body, ok := s.objects[key]
		if !ok {
			refuse(w, http.StatusNotFound, "NoSuchKey", key)
			return
		}
		w.Header().Set("ETag", etag(body))
		http.ServeContent(w, r, "", time.Unix(1_800_000_000, 0), strings.NewReader(string(body)))
	default:
		refuse(w, http.StatusNotImplemented, "NotImplemented", r.Method)
	}
}

func etag(body []byte) string {
	sum := md5.Sum(body) //nolint:gosec // the protocol has it
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (s *Store) put(w http.ResponseWriter, r *http.Request, key string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "IncompleteBody", err.Error())
		return
	}
	sum := md5.Sum(body) //nolint:gosec // the protocol has it
	if said := r.Header.Get("Content-Md5"); said != base64.StdEncoding.EncodeToString(sum[:]) {
		refuse(w, http.StatusBadRequest, "BadDigest", said)
		return
	}
	s.objects[key] = body
	w.Header().Set("ETag", etag(body))
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	Prefix                string
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	NextContinuationToken string `xml:",omitempty"`
	Contents              []struct {
		Key  string
		Size int
		ETag string
	}
}

func (s *Store) list(w http.ResponseWriter, q url.Values) {
	out := listing{Name: s.bucket, Prefix: q.Get("prefix"), MaxKeys: pageKeys}
	var keys []string
	for k := range s.objects {
		if strings.HasPrefix(k, out.Prefix) && k > q.Get("continuation-token") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if out.IsTruncated = len(keys) > pageKeys; out.IsTruncated {
		keys = keys[:pageKeys]
		out.NextContinuationToken = keys[pageKeys-1]
	}
	for _, k := range keys {
		out.Contents = append(out.Contents, struct {
			Key  string
			Size int
			ETag string
		}{k, len(s.objects[k]), etag(s.objects[k])})
	}
	out.KeyCount = len(keys)
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out) // who does not read has gone
}

func refuse(w http.ResponseWriter, status int, code, what string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}{Code: code, Message: what})
}

// signedWrong tells what is wrong with the signature of a request; empty: nothing.
func signedWrong(r *http.Request) string {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "it is not signed"
	}
	part := map[string]string{}
	for p := range strings.SplitSeq(auth, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[k] = v
	}
	key, scope, _ := strings.Cut(part["Credential"], "/")
	day, _, _ := strings.Cut(scope, "/")
	if key != AccessKey || scope != day+"/"+Region+"/s3/aws4_request" {
		return "credential " + part["Credential"]
	}
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"))
	for name := range strings.SplitSeq(part["SignedHeaders"], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", part["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256"))
	sum := sha256.Sum256([]byte(canonical.String()))
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), scope, hex.EncodeToString(sum[:])}, "\n")
	mac := []byte("AWS4" + SecretKey)
	for _, p := range []string{day, Region, "s3", "aws4_request", text} {
		h := hmac.New(sha256.New, mac)
		_, _ = io.WriteString(h, p) // it takes all
		mac = h.Sum(nil)
	}
	if hex.EncodeToString(mac) != part["Signature"] {
		return "signature"
	}
	return ""
}
