package bucket

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/carillon-cron/carillon/internal/backup"
)

// scheme begins the paths of what lies in buckets.
const scheme = "s3://"

// metadataTimeout bounds the question to a cloud's own host who this host is.
const metadataTimeout = 5 * time.Second

// Is reports whether a path is of a bucket.
func Is(path string) bool { return strings.HasPrefix(path, scheme) }

// Config says how a store is reached.
type Config struct {
	// Endpoint is its URL. Empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or Amazon's own.
	Endpoint string
	// Region is that of the bucket. Empty: AWS_REGION, AWS_DEFAULT_REGION, or us-east-1.
	Region string
	// CA is a file with the authority of its certificate. Empty: those of the host.
	CA string
	// Env are variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN
	// are shown to the store. Without them a file of credentials is looked for, and what a
	// cloud gives its hosts.
	Env map[string]string
}

// Bucket is a part of a bucket: what begins with a prefix. It is a backup.Place.
type Bucket struct {
	client *minio.Client
	name   string
	prefix string // empty, or with a slash behind
}

var _ backup.Place = (*Bucket)(nil)

// Open returns the place at a path, s3://BUCKET or s3://BUCKET/PREFIX. Nothing is asked yet.
func Open(at string, cfg Config) (*Bucket, error) {
	name, prefix, _ := strings.Cut(strings.TrimPrefix(at, scheme), "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	client, err := connect(cfg)
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fmt.Errorf("%q names no bucket; it is to be s3://BUCKET or s3://BUCKET/PREFIX", at)
	}
	return &Bucket{client: client, name: name, prefix: prefix}, nil
}

func connect(cfg Config) (*minio.Client, error) {
	env := func(name string) string { return cfg.Env[name] }
	at := cmp.Or(cfg.Endpoint, env("AWS_ENDPOINT_URL_S3"), env("AWS_ENDPOINT_URL"), "https://s3.amazonaws.com")
	u, err := url.Parse(at)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("the endpoint %q of the store is no URL of a host; it is to be like https://s3.example.org", at)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("the endpoint %q of the store is in the clear, and backups hold secrets; give one that begins with https://", at)
	}
	tr, err := minio.DefaultTransport(u.Scheme == "https")
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if cfg.CA != "" {
		pem, err := os.ReadFile(cfg.CA)
		if err != nil {
			return nil, fmt.Errorf("authority of the store: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority of the store: %s holds no certificate in PEM", cfg.CA)
		}
		tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	creds := credentials.NewStaticV4(env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"), env("AWS_SESSION_TOKEN"))
	if env("AWS_ACCESS_KEY_ID") == "" {
		creds = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.FileAWSCredentials{}, &credentials.IAM{Client: &http.Client{Timeout: metadataTimeout}},
		})
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: creds, Secure: u.Scheme == "https", Transport: tr,
		Region: cmp.Or(cfg.Region, env("AWS_REGION"), env("AWS_DEFAULT_REGION"), "us-east-1"),
	})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return client, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Temp implements backup.Place.
func (b *Bucket) Temp() (*os.File, error) {
	f, err := os.CreateTemp("", "carillon-*.part") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("room for the backup: %w", err)
	}
	return f, nil
}

// Keep implements backup.Place.
func (b *Bucket) Keep(ctx context.Context, f *os.File, name string) (err error) {
	defer func() {
		err = errors.Join(err, f.Close(), os.Remove(f.Name()))
	}()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("read the backup again: %w", err)
	}
	// The store compares the checksum before it keeps anything.
	if _, err = b.client.PutObject(ctx, b.name, b.prefix+name, f, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", SendContentMd5: true, DisableContentSha256: false,
	}); err != nil {
		return b.trouble("write", name, err)
	}
	is, err := b.client.StatObject(ctx, b.name, b.prefix+name, minio.StatObjectOptions{})
	if err != nil {
		return b.trouble("look at", name, err)
	}
	if is.Size != size {
		return fmt.Errorf("%s has %d bytes after %d were written", b.Path(name), is.Size, size)
	}
	return nil
}

// List implements backup.Place.
func (b *Bucket) List(ctx context.Context) ([]backup.Entry, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing where it is broken off
	var out []backup.Entry
	for o := range b.client.ListObjects(ctx, b.name, minio.ListObjectsOptions{Prefix: b.prefix}) {
		if o.Err != nil {
			return nil, b.trouble("list", "", o.Err)
		}
		if name := strings.TrimPrefix(o.Key, b.prefix); name != "" && !strings.Contains(name, "/") {
			out = append(out, backup.Entry{Name: name, Bytes: o.Size})
		}
	}
	return out, nil
}

// Begin implements backup.Place.
func (b *Bucket) Begin(ctx context.Context, name string, bytes int) ([]byte, error) {
	// No range is asked for: of an object that is empty there is none.
	o, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, b.trouble("read", name, err)
	}
	defer func() { _ = o.Close() }()
	text, err := io.ReadAll(io.LimitReader(o, int64(bytes)))
	if err != nil {
		return nil, b.trouble("read", name, err)
	}
	return text, nil
}

// Remove implements backup.Place.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	if err := b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{}); err != nil {
		return b.trouble("remove", name, err)
	}
	return nil
}

// Path implements backup.Place.
func (b *Bucket) Path(name string) string { return scheme + b.name + "/" + b.prefix + name }

// Read opens what lies at a path, s3://BUCKET/NAME.
func Read(ctx context.Context, at string, cfg Config) (io.ReadCloser, error) {
	dir, name := path.Split(strings.TrimPrefix(at, scheme))
	if dir == "" || name == "" {
		return nil, fmt.Errorf("%q names no backup; it is to be s3://BUCKET/NAME", at)
	}
	b, err := Open(scheme+dir, cfg)
	if err != nil {
		return nil, err
	}
	o, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err == nil {
		_, err = o.Stat() // nothing was asked before
	}
	if err != nil {
		return nil, b.trouble("read", name, err)
	}
	return o, nil
}

// trouble tells what was done and where.
func (b *Bucket) trouble(what, name string, err error) error {
	return fmt.Errorf("%s %s: %w", what, b.Path(name), err)
}
