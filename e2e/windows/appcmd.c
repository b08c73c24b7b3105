/* A stand-in for %windir%\System32\inetsrv\appcmd.exe, which comes with IIS: it keeps the states of application pools in
 * pools.txt beside it, answers in appcmd's forms, and writes down what it was asked. For tests; never shipped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static char folder[MAX_PATH];

static FILE *beside(const char *name, const char *mode) {
    char path[MAX_PATH + 32];
    snprintf(path, sizeof path, "%s\\%s", folder, name);
    return fopen(path, mode);
}

int main(int count, char **words) {
    char names[64][256], states[64][32], line[512];
    int pools = 0;
    GetModuleFileNameA(NULL, folder, sizeof folder);
    *strrchr(folder, '\\') = 0;

    FILE *log = beside("appcmd.log", "a");
    for (int i = 1; i < count; i++) fprintf(log, "%s%s", i > 1 ? " | " : "", words[i]);
    fprintf(log, "\n");
    fclose(log);

    FILE *book = beside("pools.txt", "r");
    while (book && pools < 64 && fgets(line, sizeof line, book)) {
        char *equals = strchr(line, '=');
        if (!equals) continue;
        *equals = 0;
        snprintf(names[pools], sizeof names[0], "%s", line);
        snprintf(states[pools], sizeof states[0], "%s", strtok(equals + 1, "\r\n"));
        pools++;
    }
    if (book) fclose(book);

    if (count == 4 && !strcmp(words[1], "list") && !strcmp(words[3], "/xml")) {
        printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<appcmd>\n");
        for (int i = 0; i < pools; i++)
            printf("    <APPPOOL APPPOOL.NAME=\"%s\" PipelineMode=\"Integrated\" RuntimeVersion=\"v4.0\" state=\"%s\" />\n",
                   names[i], states[i]);
        printf("</appcmd>\n");
        return 0;
    }
    if (count == 5 && !strcmp(words[1], "list")) {
        for (int i = 0; i < pools; i++)
            if (!strcmp(names[i], words[3])) printf("%s\n", states[i]);
        return 0;
    }
    const char *option = "/apppool.name:";
    if (count == 4 && !strncmp(words[3], option, strlen(option))) {
        for (int i = 0; i < pools; i++) {
            if (strcmp(names[i], words[3] + strlen(option))) continue;
            snprintf(states[i], sizeof states[0], "%s", strcmp(words[1], "stop") ? "Started" : "Stopped");
            book = beside("pools.txt", "w");
            for (int j = 0; j < pools; j++) fprintf(book, "%s=%s\n", names[j], states[j]);
            fclose(book);
            printf("\"%s\" successfully %s\n", names[i], strcmp(words[1], "stop") ? "started" : "stopped");
            return 0;
        }
        printf("ERROR ( message:Cannot find APPPOOL object with identifier \"%s\". )\n", words[3] + strlen(option));
        return 50;
    }
    printf("ERROR ( message:The command is not known. )\n");
    return 1;
}
