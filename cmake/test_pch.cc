// Carries the precompiled test headers that every <folder>_test reuses (an executable, so that its PIE
// settings are theirs).
int main() { return 0; }
