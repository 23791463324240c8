package secretsmanager

import (
	"strings"
	"testing"
)

func TestPassword(t *testing.T) {
	for name, test := range map[string]struct {
		length             int
		excludePunctuation bool
		has                []string // one character of each
		hasNot             string
	}{
		"has characters of all types but space": {length: 32, has: []string{lowercase, uppercase, numbers, punctuation}, hasNot: " "},
		"has the length asked for":              {length: 4096, has: []string{lowercase, uppercase, numbers, punctuation}, hasNot: " "},
		"has one of each type, however short":   {length: 4, has: []string{lowercase, uppercase, numbers, punctuation}, hasNot: " "},
		"lacks punctuation": {
			length: 4, excludePunctuation: true, has: []string{lowercase, uppercase, numbers}, hasNot: punctuation,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				got, err := draw(test.length, test.excludePunctuation)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != test.length {
					t.Errorf("%q has %d characters, want %d", got, len(got), test.length)
				}
				for _, kind := range test.has {
					if !strings.ContainsAny(got, kind) {
						t.Errorf("%q has none of %q", got, kind)
					}
				}
				if strings.ContainsAny(got, test.hasNot) {
					t.Errorf("%q has one of %q", got, test.hasNot)
				}
			}
		})
	}
}

func TestPasswordThatCannotBe(t *testing.T) {
	for name, length := range map[string]int{"too short for its types": 3, "of more than 4096 characters": 4097} {
		t.Run(name, func(t *testing.T) {
			if got, err := draw(length, false); err == nil {
				t.Errorf("drew %q", got)
			}
		})
	}
}

func TestEveryCharacterIsAboutAsLikely(t *testing.T) {
	count, total := map[byte]int{}, 0
	for range 200 {
		got, err := draw(100, false)
		if err != nil {
			t.Fatal(err)
		}
		total += len(got)
		for i := range len(got) {
			count[got[i]]++
		}
	}
	if len(count) != 94 {
		t.Errorf("%d different characters, want all 94", len(count))
	}
	for character, n := range count {
		if n < total/94/2 || n > total/94*2 {
			t.Errorf("%q came %d times of %d", character, n, total)
		}
	}
}
