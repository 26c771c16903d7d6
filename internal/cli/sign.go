package cli

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/internal/release"
)

// defaultExpiry is how long a manifest is good for: long enough for a fleet, and
// not for ever, so that nobody can be held back with an old one.
const defaultExpiry = 90 * 24 * time.Hour

func (uv updateVerbs) keygenCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "keygen --out FILE", Args: noArgs,
		Short: "Make a key that signs releases",
		Long: "Make a key that signs releases: FILE gets the private key, which stays where releases\n" +
			"are made, and FILE.pub the public one, for `worker --update-keys`.",
		Example: "  carillon minions update keygen --out release.key",
		RunE: func(*cobra.Command, []string) error {
			public, private, err := ed25519.GenerateKey(nil)
			if err != nil {
				return fmt.Errorf("make a key: %w", err)
			}
			if err := writeNew(out, release.FormatPrivateKey(private), 0o600); err != nil {
				return err
			}
			if err := writeNew(out+".pub", release.FormatPublicKey(public), 0o644); err != nil {
				return err
			}
			return uv.printOutcome(outcome{"key", string(release.IDOf(public)), "made"})
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`FILE` for the private key; it must not be there yet")
	_ = cmd.MarkFlagRequired("out") // it is defined above
	return cmd
}

// writeNew writes a file that is not there yet: a key must not be lost.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return usagef("%w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (uv updateVerbs) signCommand() *cobra.Command {
	var (
		keys, artifacts []string
		m               release.Manifest
		number          int64
		rollback, least int64
		expires         time.Duration
		base            string
	)
	cmd := &cobra.Command{
		Use: "sign --key FILE --release N --version V --artifact PLATFORM=PATH_OR_URL...", Args: noArgs,
		Short: "Sign a release, and print the signed manifest",
		Long: `Sign a release, and print the signed manifest. Numbers rise: a release that is
signed later has a higher one. To go back, sign the older program with a new
number and --rollback-to. A minion fetches a program from the URL that is given;
from --base-url and the file's name; or else from the same path on its own disk.`,
		Example: "  carillon minions update sign --key release.key --release 7 --version 1.4.0 --base-url https://repo/carillon --artifact linux/amd64=dist/worker > signed.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			m.Release, m.RollbackTo, m.Minimum = release.Number(number), release.Number(rollback), release.Number(least)
			m.Expires = time.Now().Add(expires)
			m.Artifacts = map[release.Platform]release.Artifact{}
			var errs []error
			var private []ed25519.PrivateKey
			for _, file := range keys {
				text, err := os.ReadFile(file)
				var key ed25519.PrivateKey
				if err == nil {
					if key, err = release.ParsePrivateKey(text); err != nil {
						err = fmt.Errorf("%s: %w", file, err)
					}
				}
				errs, private = append(errs, err), append(private, key)
			}
			for _, text := range artifacts {
				platform, where, ok := strings.Cut(text, "=")
				if !ok {
					errs = append(errs, fmt.Errorf("--artifact %q: want PLATFORM=PATH_OR_URL, as in linux/amd64=dist/worker", text))
					continue
				}
				artifact, err := artifactAt(cmd, where, base)
				errs = append(errs, err)
				m.Artifacts[release.Platform(platform)] = artifact
			}
			if err := errors.Join(errs...); err != nil {
				return usagef("%w", err)
			}
			signed, err := release.Sign(m, private...)
			if err != nil {
				return usagef("%w", err)
			}
			return uv.printSigned(signed)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "key", nil, "`FILE` with a private key; may be given several times")
	cmd.Flags().Int64Var(&number, "release", 0, "the release's number, `N`, above all that were signed before")
	cmd.Flags().StringVar(&m.Version, "version", "", "what people call it, `V`")
	cmd.Flags().StringArrayVar(&artifacts, "artifact", nil, "the program for a platform, as `PLATFORM=PATH_OR_URL`; may be given several times")
	cmd.Flags().StringVar(&base, "base-url", "", "`URL` below which minions find the files that are given by their paths")
	addDuration(cmd.Flags(), &expires, "expires", defaultExpiry, "how long the manifest is valid, as a `DURATION`")
	cmd.Flags().Int64Var(&rollback, "rollback-to", 0, "the older release, `N`, whose programs these are")
	cmd.Flags().Int64Var(&least, "minimum", 0, "the oldest release, `N`, to which minions may be brought back from then on")
	for _, needed := range []string{"key", "release", "version", "artifact"} {
		_ = cmd.MarkFlagRequired(needed) // they are defined above
	}
	return cmd
}

// printSigned prints a signed manifest.
func (uv updateVerbs) printSigned(s release.Signed) error {
	enc := json.NewEncoder(uv.out)
	enc.SetIndent("", "  ")
	return enc.Encode(s)
}

// artifactAt reads a program, and says where minions find it.
func artifactAt(cmd *cobra.Command, where, base string) (release.Artifact, error) {
	url := where
	if !strings.Contains(where, "://") {
		path, err := filepath.Abs(where)
		if err != nil {
			return release.Artifact{}, err
		}
		where = "file://" + path
		if url = where; base != "" {
			url = strings.TrimSuffix(base, "/") + "/" + filepath.Base(path)
		}
	}
	body, err := release.NewFetch(nil)(cmd.Context(), where)
	if err != nil {
		return release.Artifact{}, err
	}
	defer body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(body, release.MaxArtifact+1))
	if err != nil {
		return release.Artifact{}, fmt.Errorf("read %s: %w", where, err)
	}
	return release.Artifact{URL: url, Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func (uv updateVerbs) verifyCommand() *cobra.Command {
	var keys string
	var threshold int
	cmd := &cobra.Command{
		Use: "verify --keys FILE MANIFEST", Args: exactlyOne("manifest"),
		Short: "Check a signed manifest as minions do",
		Long: "Check a signed manifest as minions do: that enough of the keys have signed it, that it\n" +
			"is valid, and has not expired. What a minion has already, it knows alone.",
		Example: "  carillon minions update verify --keys release.key.pub signed.json",
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := os.ReadFile(keys)
			if err != nil {
				return usagef("%w", err)
			}
			trusted, err := release.ParsePublicKeys(text)
			if err != nil {
				return usagef("%s: %w", keys, err)
			}
			signed, err := readSigned(args[0])
			if err != nil {
				return err
			}
			v, err := signed.Verify(trusted, threshold, time.Now(), release.Floor{})
			if err != nil {
				return err
			}
			m := v.Manifest()
			if uv.asObject() {
				return uv.printValue(m)
			}
			return uv.printOutcome(outcome{"release", fmt.Sprintf("%d (%s)", m.Release, m.Version), "verified"})
		},
	}
	cmd.Flags().StringVar(&keys, "keys", "", "`FILE` with the public keys")
	cmd.Flags().IntVar(&threshold, "threshold", 1, "how many of the keys, `N`, must have signed it")
	_ = cmd.MarkFlagRequired("keys") // it is defined above
	return cmd
}
