@echo off
rem The original PerformanceTrack's name for recording one sample.
setlocal
set "root=%~dp0.."
if not exist "%root%\.venv\.installed" py -3 "%~dp0.environment.py" "" "%root%\.venv\.installed" || exit /b 1
"%root%\.venv\Scripts\perftrack.exe" record %*
