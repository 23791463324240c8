package attribute

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func newString(s string) *Value { return &Value{S: &s} }

func decode(t testing.TB, text string) *Value {
	t.Helper()
	v := new(Value)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("decoding %s: %v", text, err)
	}
	return v
}

func normalized(t testing.TB, text string) *Value {
	t.Helper()
	v := decode(t, text)
	if err := v.Normalize(); err != nil {
		t.Fatalf("normalising %s: %v", text, err)
	}
	return v
}

func TestParseNumber(t *testing.T) {
	nines := strings.Repeat("9", 38)
	for _, c := range []struct{ given, want string }{
		{"0", "0"}, {"-0", "0"}, {"0.000", "0"}, {"007", "7"}, {"+7", "7"}, {"1.50", "1.5"}, {".5", "0.5"}, {"5.", "5"},
		{"-00.0120", "-0.012"}, {"1e3", "1000"}, {"1.5E+2", "150"}, {"12e-3", "0.012"}, {"0e999999999", "0"},
		{"100000000000000000000", "100000000000000000000"}, {nines, nines}, {"0." + nines, "0." + nines},
		{"9.9e125", "99" + strings.Repeat("0", 124)}, {"1e-130", "0." + strings.Repeat("0", 129) + "1"},
		{nines + "000", nines + "000"},
	} {
		got, err := ParseNumber(c.given)
		if err != nil || got != c.want {
			t.Errorf("ParseNumber(%q) = %q, %v; want %q", c.given, got, err, c.want)
		}
		if again, err := ParseNumber(got); err != nil || again != got {
			t.Errorf("the canonical %q is parsed as %q, %v", got, again, err)
		}
	}
}

func TestParseNumberRefuses(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"", "The parameter cannot be converted to a numeric value"},
		{"abc", "The parameter cannot be converted to a numeric value: abc"},
		{"1.2.3", "The parameter cannot be converted to a numeric value: 1.2.3"},
		{"1e", "The parameter cannot be converted to a numeric value: 1e"},
		{"1e+-3", "The parameter cannot be converted to a numeric value: 1e+-3"},
		{"--1", "The parameter cannot be converted to a numeric value: --1"},
		{" 1", "The parameter cannot be converted to a numeric value:  1"},
		{"NaN", "The parameter cannot be converted to a numeric value: NaN"},
		{strings.Repeat("9", 39), "Attempting to store more than 38 significant digits in a Number"},
		{"1e126", "Number overflow. Attempting to store a number with magnitude larger than supported range"},
		{"1e99999999999999999999", "Number overflow. Attempting to store a number with magnitude larger than supported range"},
		{"1e-131", "Number underflow. Attempting to store a number with magnitude smaller than supported range"},
	} {
		got, err := ParseNumber(c.given)
		if err == nil {
			t.Errorf("ParseNumber(%q) = %q; want an error", c.given, got)
			continue
		}
		if diff := cmp.Diff(c.want, err.Error()); diff != "" {
			t.Errorf("ParseNumber(%q) (-want +got):\n%s", c.given, diff)
		}
	}
}

func TestSumsAreExact(t *testing.T) {
	for _, c := range []struct{ a, b, sum string }{
		{"1", "2", "3"},
		{"0.1", "0.2", "0.3"},
		{"9007199254740993", "1", "9007199254740994"},
		{"5", "5", "10"},
		{"0", "-3", "-3"},
		{"100", "0.01", "100.01"},
		{"12345678901234567890123456789012345678", "1", "12345678901234567890123456789012345679"},
	} {
		if got, err := Add(c.a, c.b); err != nil || got != c.sum {
			t.Errorf("%s + %s = %s, %v; want %s", c.a, c.b, got, err, c.sum)
		}
	}
	if got, err := Add(strings.Repeat("9", 38), "0.1"); err == nil {
		t.Errorf("a sum of 39 digits is %s; want an error", got)
	}
}

func TestNormalizeRefuses(t *testing.T) {
	deep := strings.Repeat(`{"L":[`, 32) + `{"S":"x"}` + strings.Repeat(`]}`, 32)
	for _, c := range []struct{ name, given, want string }{
		{name: "no type", given: `{}`, want: "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"},
		{name: "two types", given: `{"S":"a","N":"1"}`, want: "Supplied AttributeValue has more than one datatypes set, " +
			"must contain exactly one of the supported datatypes"},
		{
			name:  "NULL false",
			given: `{"NULL":false}`,
			want:  "One or more parameter values were invalid: Null attribute value types must have the value of true",
		},
		{name: "empty string set", given: `{"SS":[]}`, want: "One or more parameter values were invalid: An string set  may not be empty"},
		{name: "empty number set", given: `{"NS":[]}`, want: "One or more parameter values were invalid: An number set  may not be empty"},
		{name: "empty binary set", given: `{"BS":[]}`, want: "One or more parameter values were invalid: Binary sets should not be empty"},
		{name: "duplicate strings", given: `{"SS":["a","b","a"]}`, want: "One or more parameter values were invalid: " +
			"Input collection [a, b, a] contains duplicates."},
		{
			name:  "equal numbers",
			given: `{"NS":["1","1.0"]}`,
			want:  "One or more parameter values were invalid: Input collection [1, 1.0] contains duplicates.",
		},
		{
			name:  "bad number deep inside",
			given: `{"M":{"a":{"L":[{"N":"x"}]}}}`,
			want:  "The parameter cannot be converted to a numeric value: x",
		},
		{
			name:  "null inside a list",
			given: `{"L":[null]}`,
			want:  "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
		},
		{
			name:  "33 levels",
			given: deep,
			want:  "Nesting Levels have exceeded supported limits: Attributes and nested attributes have exceeded 32 levels",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := decode(t, c.given).Normalize()
			if err == nil {
				t.Fatal("accepted")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestValuesTravelUnchanged(t *testing.T) {
	for _, text := range []string{
		`{"S":""}`, `{"N":"1.5"}`, `{"B":""}`, `{"B":"AAE="}`, `{"BOOL":false}`, `{"NULL":true}`, `{"M":{}}`, `{"L":[]}`,
		`{"M":{"size":{"S":"x"}}}`, `{"SS":["a","b"]}`, `{"NS":["-1","2","10"]}`, `{"BS":["AA==","AQ=="]}`, `{"L":[{"L":[]},{"M":{}}]}`,
	} {
		got, err := json.Marshal(normalized(t, text))
		if err != nil || string(got) != text {
			t.Errorf("%s became %s, %v", text, got, err)
		}
	}
}

func TestEqual(t *testing.T) {
	values := []string{
		`{"S":"1"}`, `{"N":"1"}`, `{"B":"MQ=="}`, `{"BOOL":true}`, `{"BOOL":false}`, `{"NULL":true}`, `{"M":{}}`, `{"M":{"a":{"N":"1"}}}`,
		`{"L":[]}`, `{"L":[{"N":"1"}]}`, `{"SS":["1"]}`, `{"NS":["1"]}`, `{"BS":["MQ=="]}`, `{"SS":["1","2"]}`,
	}
	for i, a := range values {
		for j, b := range values {
			if got := Equal(normalized(t, a), normalized(t, b)); got != (i == j) {
				t.Errorf("Equal(%s, %s) = %t", a, b, got)
			}
		}
	}
	if !Equal(normalized(t, `{"NS":["10","2.0"]}`), normalized(t, `{"NS":["2","1e1"]}`)) {
		t.Error("sets differ by the order and spelling of their members")
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		given string
		want  int
	}{
		{`{"S":"é"}`, 2}, {`{"B":"AAEC"}`, 3}, {`{"BOOL":true}`, 1}, {`{"NULL":true}`, 1}, {`{"N":"0"}`, 1},
		{`{"N":"12345"}`, 4}, {`{"N":"1000"}`, 2}, {`{"N":"-12"}`, 3}, {`{"N":"1.5"}`, 2}, {`{"L":[]}`, 3},
		{`{"L":[{"S":"ab"}]}`, 6}, {`{"M":{"k":{"S":"ab"}}}`, 7}, {`{"SS":["ab","c"]}`, 3}, {`{"NS":["1","22"]}`, 4},
		{`{"BS":["AA=="]}`, 1},
	} {
		if got := normalized(t, c.given).Size(); got != c.want {
			t.Errorf("size of %s = %d; want %d", c.given, got, c.want)
		}
	}
}

var orderedNumbers = []string{
	"-1e125", "-100", "-99.5", "-10", "-9", "-1.01", "-1", "-0.5", "-1e-130", "0", "1e-130", "0.05", "0.5", "1", "1.001", "2", "9",
	"10", "10.5", "99", "100", "1e38", "1e125",
}

func TestKeysKeepTheOrderOfNumbers(t *testing.T) {
	for i, a := range orderedNumbers {
		for j, b := range orderedNumbers {
			checkOrder(t, normalized(t, `{"N":"`+a+`"}`), normalized(t, `{"N":"`+b+`"}`), i-j)
		}
	}
}

// checkOrder checks that comparison and encoding agree, also when something follows the encoding.
func checkOrder(t *testing.T, a, b *Value, want int) {
	t.Helper()
	if got, ok := Compare(a, b); !ok || signOf(got) != signOf(want) {
		t.Errorf("Compare(%s, %s) = %d, %t; want %d", a, b, got, ok, signOf(want))
	}
	x, y := AppendKey(nil, a), AppendKey(nil, b)
	if got := bytes.Compare(x, y); got != signOf(want) {
		t.Errorf("encodings of %s and %s compare as %d; want %d", a, b, got, signOf(want))
	}
	if want != 0 {
		if got := bytes.Compare(append(x, 0xFF), append(y, 0x00)); got != signOf(want) {
			t.Errorf("what follows the encodings of %s and %s changes their order", a, b)
		}
	}
}

func signOf(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func FuzzKeysKeepTheOrderOfStrings(f *testing.F) {
	f.Add("a", "b")
	f.Add("a", "a\x00")
	f.Add("a\x00b", "a\x00\xffb")
	f.Add("", "\x00\x01")
	f.Add("\xff", "\xff\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		checkOrder(t, newString(a), newString(b), strings.Compare(a, b))
		checkOrder(t, &Value{B: []byte(a)}, &Value{B: []byte(b)}, strings.Compare(a, b))
		prefix := string(AppendKeyPrefix(nil, newString(b)))
		key := string(AppendKey(nil, newString(a)))
		inside := key >= prefix && (AfterPrefix(prefix) == "" || key < AfterPrefix(prefix))
		if inside != strings.HasPrefix(a, b) {
			t.Errorf("%q is in the range of prefix %q: %t", a, b, inside)
		}
	})
}

func FuzzNumbers(f *testing.F) {
	for _, n := range orderedNumbers {
		f.Add(n, "1")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		a, errA := ParseNumber(a)
		b, errB := ParseNumber(b)
		if errA != nil || errB != nil {
			return
		}
		checkOrder(t, NewNumber(a), NewNumber(b), CompareNumbers(a, b))
		sum, err := Add(a, b)
		if err != nil {
			return
		}
		negative, negated := strings.CutPrefix(b, "-")
		if !negated {
			negative = "-" + b
		}
		if back, err := Add(sum, negative); err == nil && back != a {
			t.Errorf("%s + %s - %s = %s", a, b, b, back)
		}
	})
}
