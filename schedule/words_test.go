package schedule

import (
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, want string }{
		{"* * * * *", "every minute"},
		{"*/5 * * * *", "every 5 minutes"},
		{"*/30 * * * *", "every 30 minutes"},
		{"* * * * * *", "every second"},
		{"*/10 * * * * *", "every 10 seconds"},
		{"30 * * * * *", "at second 30 of every minute"},
		{"0,30 * * * * *", "every 30 seconds"},
		{"5,20 * * * * *", "at seconds 5 and 20 of every minute"},
		{"30 */5 * * * *", "at second 30 of every 5th minute"},
		{"*/10 0-4 * * * *", "every 10 seconds of minutes 0 to 4 of every hour"},
		{"*/10 30 9 * * *", "every 10 seconds of minute 30 of hour 9"},
		{"@hourly", "every hour"},
		{"15 * * * *", "at minute 15 of every hour"},
		{"15,45 * * * *", "at minutes 15 and 45 of every hour"},
		{"0,30 * * * *", "every 30 minutes"},
		{"*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"},
		{"0 */2 * * *", "every 2 hours"},
		{"0 */6 * * MON", "every 6 hours on Monday"},
		{"30 */2 * * *", "at minute 30 of every 2nd hour"},
		{"0 */5 * * *", "every day at 00:00, 05:00, 10:00, 15:00 and 20:00"},
		{"0 8-18 * * *", "every hour from 8 to 18"},
		{"20 8-18 * * MON-FRI", "at minute 20 of every hour from 8 to 18 on Monday to Friday"},
		{"*/10 8-18 * * *", "every 10 minutes from 08:00 to 18:59"},
		{"* 9 * * *", "every minute from 09:00 to 09:59"},
		{"*/15 2,4 * * *", "every 15 minutes in the hours 2 and 4"},
		{"*/15 */2 * * *", "every 15 minutes in every 2nd hour"},
		{"@daily", "every day at 00:00"},
		{"0 2 * * *", "every day at 02:00"},
		{"0 2,14 * * *", "every day at 02:00 and 14:00"},
		{"10,40 2 * * *", "every day at 02:10 and 02:40"},
		{"15 30 9 * * *", "every day at 09:30:15"},
		{"0 6 * 6-8 *", "every day in June to August at 06:00"},
		{"*/5 * * JAN,JUL *", "every 5 minutes in January and July"},
		{"30 9 * * MON-FRI", "at 09:30 on Monday to Friday"},
		{"30 9 * * 0,6", "at 09:30 on Saturday and Sunday"},
		{"30 9 * * 5-7", "at 09:30 on Friday to Sunday"},
		{"*/5 * * * TUE", "every 5 minutes on Tuesday"},
		{"@weekly", "at 00:00 on Sunday"},
		{"@monthly", "at 00:00 on the 1st of the month"},
		{"@yearly", "at 00:00 on the 1st of January"},
		{"15 3 1,15 * *", "at 03:15 on the 1st and 15th of the month"},
		{"15 3 1-7 3,9 *", "at 03:15 on the 1st to 7th of March and September"},
		{"0 0 */2 * *", "at 00:00 on every 2nd day from the 1st of the month"},
		{"0 0 11,12,21,22,23,31 * *", "at 00:00 on the 11th, 12th, 21st to 23rd and 31st of the month"},
		{"0 0 13 * FRI", "at 00:00 on the 13th of the month or on Friday"},
		{"0 0 13 1 FRI", "at 00:00 on the 13th of the month or on Friday in January"},
		{"0 0 */2 * MON-TUE", "at 00:00 on every 2nd day from the 1st of the month if it is Monday or Tuesday"},
		{"0 0 1-31 * MON", "every day at 00:00"},
		{"0 9 L * *", "at 09:00 on the last day of the month"},
		{"0 9 L-3 * *", "at 09:00 on the day 3 days before the last day of the month"},
		{"0 9 L-1 * *", "at 09:00 on the day 1 day before the last day of the month"},
		{"0 9 L-3W * *", "at 09:00 on the working day nearest to 3 days before the last day of the month"},
		{"0 9 31W * *", "at 09:00 on the working day nearest the 31st of the month"},
		{"*/20 * * * *", "every 20 minutes"},
		{"*/20 * * * * *", "every 20 seconds"},
		{"0 */20 * * *", "every day at 00:00 and 20:00"},
		{"0 0 */20 * *", "at 00:00 on the 1st and 21st of the month"},
		{"0 0 */10 * *", "at 00:00 on every 10th day from the 1st of the month"},
		{"30 1 * * *", "every day at 01:30"},
		{"30 1 * * * *", "at second 30 of minute 1 of every hour"},
		{"0 0 30 1 *", "at 00:00 on the 30th of January"},
		{"0 9 LW 6 *", "at 09:00 on the last working day of June"},
		{"0 9 1,15W * *", "at 09:00 on the 1st and the working day nearest the 15th of the month"},
		{"0 9 * * FRI#3", "at 09:00 on the 3rd Friday of the month"},
		{"0 9 * * 5L", "at 09:00 on the last Friday of the month"},
		{"0 9 * * MON,5L", "at 09:00 on Monday and the last Friday"},
		{"0 9 L * FRI#1", "at 09:00 on the last day of the month or on the 1st Friday"},
		{"0 0 9 1 1 * 2027-2029,2031", "at 09:00 on the 1st of January, only in 2027 to 2029 and 2031"},
		{"0 0 9 * * * 2027", "every day at 09:00, only in 2027"},
		{"@every 90s", "every 90 seconds"},
		{"@every 1h", "every hour"},
		{"@every 48h", "every 2 days"},
		{"@every 1500ms", "every 1500 milliseconds"},
		{"@at 2027-01-01T09:00:00+01:00", "once, at 2027-01-01T08:00:00Z"},
		{"CRON_TZ=Europe/Berlin 0 2 * * *", "every day at 02:00, Europe/Berlin"},
		{"CRON_TZ=UTC 0 2 * * *", "every day at 02:00"},
	} {
		if got := parsed(t, c.expr, "").Words(); got != c.want {
			t.Errorf("%-28s %q\n%29swant %q", c.expr, got, "", c.want)
		}
	}
}

// Words of a working day that Quartz leaves out in months without the day say so, in
// one breath with the month.
func TestWordsOfDaysThatNotEachMonthHas(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"0 0 9 29W * ?":   "at 09:00 on the working day nearest an existing 29th of the month",
		"0 0 9 31W 1-6 ?": "at 09:00 on the working day nearest an existing 31st of January to June",
		"0 0 9 28W * ?":   "at 09:00 on the working day nearest the 28th of the month",
	} {
		s, err := Parse(expr, Options{Dialect: job.DialectQuartz})
		if err != nil || s.Words() != want {
			t.Errorf("%s: %v, %v", expr, s.Words(), err)
		}
	}
}
