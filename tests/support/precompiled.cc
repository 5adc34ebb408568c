// The program that CMake hangs the tests' precompiled headers on; it does nothing.
int main() {}
