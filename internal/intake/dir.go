package intake

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

const (
	// againFirst and againMost bound the pauses before a file is sent again.
	againFirst = 2 * time.Second
	againMost  = time.Minute
	// maxReceipt bounds a receipt that is read back.
	maxReceipt = 1 << 20

	accepted, refused, answered = ".accepted", ".refused", ".answered"
	// sending is behind the name of a file that is being sent, with a dot before it.
	sending = ".sending"
	// maxName is how long a name may be: receipts have it with more behind it, and file
	// systems take 255 bytes.
	maxName = 255 - len(receiptName+".json")
)

// retry is when a file is sent again.
type retry struct {
	at    time.Time
	pause time.Duration
}

// reporting is a plan whose report is written.
type reporting struct {
	upstream, id string
	format       plan.Format
	mode         fs.FileMode
	at           time.Time
	counts       map[string]int
}

// CheckDir returns an error if plans cannot be taken from a directory, or anybody could put them
// there (I4).
func CheckDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("directory of plans: %w", err)
	case !info.IsDir():
		return fmt.Errorf("directory of plans: %s is none", dir)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("directory of plans: any account may write to %s, and what is there is sent with your rights; take that away: chmod o-w %s", dir, dir)
	}
	return nil
}

// watch looks at the directory until ctx ends.
func (t *Intake) watch(ctx context.Context) error {
	if err := CheckDir(t.cfg.Dir); err != nil {
		return err
	}
	if t.cfg.Reports {
		t.resume()
	}
	for {
		entries, err := os.ReadDir(t.cfg.Dir)
		if err != nil {
			return fmt.Errorf("directory of plans: %w", err)
		}
		// Who could write to it then may have put there what is there now.
		if err := CheckDir(t.cfg.Dir); err != nil {
			return err
		}
		for _, name := range names(entries) {
			if format, ok := formatOf(name); ok && ctx.Err() == nil {
				t.file(ctx, name, format)
			}
		}
		for name, r := range t.reports {
			if ctx.Err() == nil && !time.Now().Before(r.at) {
				t.renew(ctx, name, r)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(t.cfg.Every):
		}
	}
}

// names returns the names of files that may be to be sent, in their order, each once: also of
// those whose sending has begun.
func names(entries []fs.DirEntry) []string {
	var out []string
	for _, e := range entries {
		if claimed, ok := strings.CutSuffix(e.Name(), sending); ok && strings.HasPrefix(claimed, ".") {
			out = append(out, claimed[1:])
		} else if e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// formatOf returns the format of a file that is to be sent; false: it is not.
func formatOf(name string) (plan.Format, bool) {
	ext := filepath.Ext(name)
	format, err := plan.FormatOf(strings.ToLower(ext))
	base := strings.TrimSuffix(name, ext)
	return format, err == nil && base != "" && !strings.HasPrefix(name, ".") && !strings.HasSuffix(base, receiptName) && !strings.HasSuffix(base, reportName)
}

const receiptName, reportName = ".receipt", ".report"

// answerFormat is that of what is written beside a file.
func answerFormat(f plan.Format) plan.Format {
	if f == plan.XML {
		return f
	}
	return plan.JSON
}

// file takes a file, unless it is to wait.
func (t *Intake) file(ctx context.Context, name string, format plan.Format) {
	if len(name) > maxName {
		t.tooLong(name)
		return
	}
	wait := t.files[name]
	if wait != nil && time.Now().Before(wait.at) {
		return
	}
	end, err := t.take(ctx, name, format)
	switch {
	case err == nil:
		delete(t.files, name)
		t.log(fmt.Sprintf("%q: %s", name, strings.TrimPrefix(end, ".")))
	case errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil:
		delete(t.files, name)
	default:
		if wait == nil {
			wait = &retry{pause: againFirst}
			t.files[name] = wait
		}
		t.log(fmt.Sprintf("%q: not sent yet: %v", name, err))
		wait.at, wait.pause = time.Now().Add(wait.pause), min(2*wait.pause, againMost)
	}
}

// tooLong gives a file whose receipt could not be written a name that says so.
func (t *Intake) tooLong(name string) {
	sum := sha256.Sum256([]byte(name))
	short := strings.ToValidUTF8(name[:100], "") + "-" + hex.EncodeToString(sum[:8]) + refused
	t.log(fmt.Sprintf("%q: refused: its name has %d bytes, and may have %d; it is %q now", name, len(name), maxName, short))
	if err := os.Rename(filepath.Join(t.cfg.Dir, name), filepath.Join(t.cfg.Dir, short)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.log(err.Error())
	}
}

// claim gives a file the name that it has while it is sent, under which nobody replaces it
// (I6). One that was claimed before and not sent is to be sent first.
func (t *Intake) claim(name string) (claimed string, err error) {
	claimed = filepath.Join(t.cfg.Dir, "."+name+sending)
	if _, err := os.Lstat(claimed); !errors.Is(err, fs.ErrNotExist) {
		return claimed, err
	}
	return claimed, os.Rename(filepath.Join(t.cfg.Dir, name), claimed)
}

// take claims a file, sends what is in it, writes down what came of it, and renames the file
// (I2). It returns what was added to its name.
func (t *Intake) take(ctx context.Context, name string, format plan.Format) (string, error) {
	claimed, err := t.claim(name)
	if err != nil {
		return "", err
	}
	settle := func(end string) (string, error) {
		return end, os.Rename(claimed, filepath.Join(t.cfg.Dir, name+end))
	}
	if info, err := os.Lstat(claimed); err == nil && !info.Mode().IsRegular() {
		t.log(fmt.Sprintf("%q: it is no regular file", name)) // it was another one when the directory was read
		return settle(refused)
	}
	f, err := os.OpenFile(claimed, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	// Who can read the plan can read what came of it.
	mode := info.Mode().Perm()&0o444 | 0o600
	r := bufio.NewReaderSize(f, 64<<10)
	var receipt plan.Receipt
	end := accepted
	if is, query := plan.Look(r); query && is == format {
		err := t.answer(ctx, name, format, mode, r)
		if err == nil {
			return settle(answered)
		}
		receipt = refusal(err)
	} else {
		receipt = t.send(ctx, format, r)
	}
	switch {
	case receipt.Again:
		return "", errors.New(receipt.Errors[0].Message)
	case !receipt.Accepted:
		end = refused
	}
	form := answerFormat(format)
	if err := t.write(name+receiptName+"."+string(form), mode, func(w io.Writer) error { return receipt.Write(w, form) }); err != nil {
		return "", err
	}
	if receipt.Accepted && t.cfg.Reports {
		t.reports[name] = &reporting{upstream: receipt.Upstream, id: receipt.Plan, format: form, mode: mode}
	}
	return settle(end)
}

// answer writes the report that a query asks for.
func (t *Intake) answer(ctx context.Context, name string, format plan.Format, mode fs.FileMode, r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, plan.MaxQueryBytes+1))
	if err != nil {
		return err
	}
	return t.write(name+reportName+"."+string(format), mode, func(w io.Writer) error { return t.report(ctx, format, text, w) })
}

// write writes a file, which appears when it is whole (I3).
func (t *Intake) write(name string, mode fs.FileMode, fn func(io.Writer) error) error {
	f, err := os.CreateTemp(t.cfg.Dir, ".intake-*") // a longer name might be too long
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 64<<10)
	err = fn(out)
	if err == nil {
		err = errors.Join(out.Flush(), f.Chmod(mode), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(t.cfg.Dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it tells nothing
	}
	return err
}

// resume looks for plans of before whose reports may not be the last ones.
func (t *Intake) resume() {
	entries, err := os.ReadDir(t.cfg.Dir)
	if err != nil {
		return // it is told when it is looked at next
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), accepted)
		format, is := formatOf(name)
		if !ok || !is || !e.Type().IsRegular() {
			continue
		}
		form := answerFormat(format)
		receipt, mode, err := t.readReceipt(name+receiptName+"."+string(form), form)
		if err != nil || !receipt.Accepted {
			t.log(fmt.Sprintf("%q: no report is written any more: its receipt is not there: %v", e.Name(), err))
			continue
		}
		t.reports[name] = &reporting{upstream: receipt.Upstream, id: receipt.Plan, format: form, mode: mode}
	}
}

func (t *Intake) readReceipt(name string, format plan.Format) (plan.Receipt, fs.FileMode, error) {
	var r plan.Receipt
	f, err := os.OpenFile(filepath.Join(t.cfg.Dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return r, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return r, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxReceipt))
	if err != nil {
		return r, 0, err
	}
	if format == plan.XML {
		return r, info.Mode().Perm(), xml.Unmarshal(text, &r)
	}
	return r, info.Mode().Perm(), json.Unmarshal(text, &r)
}

// renew writes the report of a plan, if something has changed.
func (t *Intake) renew(ctx context.Context, name string, r *reporting) {
	r.at = time.Now().Add(t.cfg.ReportEvery)
	p, err := t.plans.Get(ctx, t.cfg.Namespace, r.upstream, r.id)
	switch {
	case errors.Is(err, job.ErrNotFound):
		delete(t.reports, name)
		return
	case err != nil:
		t.log(fmt.Sprintf("%q: no report now: %v", name, err))
		return
	case p.EndedAt.IsZero() && r.counts != nil && maps.Equal(r.counts, p.Counts):
		return
	}
	query, err := question(r.format, r.upstream, r.id)
	if err == nil {
		err = t.write(name+reportName+"."+string(r.format), r.mode, func(w io.Writer) error { return t.report(ctx, r.format, query, w) })
	}
	if err != nil {
		t.log(fmt.Sprintf("%q: no report now: %v", name, err))
		return
	}
	r.counts = p.Counts
	r.at = r.at.Add(time.Duration(p.Tasks) * time.Millisecond) // that of a large plan is long
	if !p.EndedAt.IsZero() {
		delete(t.reports, name)
		t.log(fmt.Sprintf("%q: the plan has ended", name))
	}
}
