// Marks a C function that a library exports; all other symbols are hidden.
#pragma once

#if defined(_WIN32)
#define SEGNET_EXPORT extern "C" __declspec(dllexport)
#else
#define SEGNET_EXPORT extern "C" __attribute__((visibility("default")))
#endif
